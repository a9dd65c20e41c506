package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// testAnyOrder applies the same entries in two orders, one of them with
// repetitions and cut otherwise into batches: the same must be held.
func (s *suite) testAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDrawer(rt, s.MaxValue)
		entries := rapid.SliceOfN(rapid.Custom(d.entry), 1, 40).Draw(rt, "entries")
		other := append(rapid.Permutation(entries).Draw(rt, "permutation"), entries[:len(entries)/2]...)
		one, two := s.open(t), s.open(t)
		defer one.Close()
		defer two.Close()
		for batch := range slices.Chunk(entries, rapid.IntRange(1, 40).Draw(rt, "batch")) {
			apply(rt, one, batch...)
		}
		for batch := range slices.Chunk(other, rapid.IntRange(1, 40).Draw(rt, "other batch")) {
			apply(rt, two, batch...)
		}
		for i := range entries {
			e := get(rt, one, entries[i].Key)
			expect(rt, two, &e)
		}
	})
}

// testHeld checks held where keys come several times, in a batch that is large
// and one that is small.
func (s *suite) testHeld(t *testing.T) {
	store := s.opened(t)
	k, lost, dead := key(1), key(2), key(3)
	apply(t, store, write(lost, 9), deletion(dead, 9))
	batch := []kv.Entry{
		write(k, 2), write(k, 1), write(k, 3), write(k, 3), write(k, 2), // in order
		write(lost, 8), write(lost, 9), write(lost, 10),
		write(dead, 8), deletion(dead, 9), deletion(dead, 10),
	}
	want := []int{2, 2, 3, 3, 3, 9, 9, 10, 9, 9, 10}
	held := slices.Repeat([]kv.Version{at(77)}, len(batch)) // what stood there must not stay
	if err := store.Apply(context.Background(), batch, held); err != nil {
		t.Fatal(err)
	}
	for i, n := range want {
		if held[i] != at(n) {
			t.Errorf("held[%d] is %v after %s, want %v", i, held[i], describe(&batch[i]), at(n))
		}
	}
	if held := apply(t, store, write(k, 1)); held[0] != at(3) {
		t.Errorf("an older write alone: %v is held, want %v", held[0], at(3))
	}
	if err := store.Apply(context.Background(), []kv.Entry{write(k, 4)}, nil); err != nil {
		t.Fatalf("Apply without held: %v", err)
	}
	newest := write(k, 4)
	expect(t, store, &newest)
}

// testExpiredTombstone: the tombstone that an entry becomes by expiry takes its
// place, and is not undone by the entry when this comes again.
func (s *suite) testExpiredTombstone(t *testing.T) {
	store := s.opened(t)
	e := write(key(1), 5)
	e.Expires = start
	tombstone := deletion(key(1), 5)
	apply(t, store, e)
	apply(t, store, tombstone)
	expect(t, store, &tombstone)
	if held := apply(t, store, e); held[0] != e.Version {
		t.Errorf("%v is held, want %v", held[0], e.Version)
	}
	expect(t, store, &tombstone)
}

func (s *suite) testKeepsNoReference(t *testing.T) {
	store := s.opened(t)
	for _, n := range []int{1, 30} { // entries in a batch
		var batch, want []kv.Entry
		for i := range n {
			e := write(key(100*n+i), 1)
			batch, want = append(batch, clone(&e)), append(want, e)
		}
		apply(t, store, batch...)
		scribble(batch)
		for i := range want {
			expect(t, store, &want[i])
		}
	}
}

// testConverges lets several write the same keys at once, from older to newer
// versions but not in the same order. Nobody may see a version go back, nor an
// entry that nobody wrote, and in the end the newest stays.
func (s *suite) testConverges(t *testing.T) {
	const writers, writes, keys = 4, 200, 3
	store := s.opened(t)
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			if err := writeShuffled(store, w, writes, keys); err != nil {
				t.Error(err)
			}
		})
		reading.Go(func() {
			if err := readForward(store, key(w%keys), done); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	for k := range keys {
		newest := write(key(k), writes)
		expect(t, store, &newest)
	}
}

// writeShuffled applies every write of every key, ten writes at a time in an
// order of its own.
func writeShuffled(store kv.Store, seed, writes, keys int) error {
	var held [1]kv.Version
	seen := make([]kv.Version, keys)
	rnd := rand.New(rand.NewPCG(1, uint64(seed)))
	for first := 1; first <= writes; first += 10 {
		for _, i := range rnd.Perm(10 * keys) {
			k, e := i%keys, write(key(i%keys), first+i/keys)
			if err := store.Apply(context.Background(), []kv.Entry{e}, held[:]); err != nil {
				return err
			}
			if held[0].Compare(e.Version) < 0 || held[0].Compare(seen[k]) < 0 {
				return fmt.Errorf("%v of %s is held after %v was applied and %v seen", held[0], e.Key, e.Version, seen[k])
			}
			seen[k] = held[0]
		}
	}
	return nil
}

// readForward reads a key until done is closed.
func readForward(store kv.Store, k []byte, done <-chan struct{}) error {
	var seen kv.Version
	for {
		select {
		case <-done:
			return nil
		default:
		}
		e, err := store.Get(context.Background(), k, nil)
		if seen.IsZero() && errors.Is(err, kv.ErrNotFound) {
			continue // not written yet
		}
		if err != nil {
			return err
		}
		if e.Version.Compare(seen) < 0 || !written(&e) {
			return fmt.Errorf("read %s after version %v", describe(&e), seen)
		}
		seen = e.Version
	}
}
