package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testConverges lets several write the same keys at once, from older to newer
// versions but not in the same order. Nobody may see a version go back, nor an
// entry that nobody wrote, and in the end the newest stays.
func (s *suite) testConverges(t *testing.T) {
	const writers, keys = 4, 3
	writes := s.effort(200, 60)
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
	var done [1]kv.Applied
	seen := make([]kv.Version, keys)
	rnd := rand.New(rand.NewPCG(1, uint64(seed)))
	for first := 1; first <= writes; first += 10 {
		for _, i := range rnd.Perm(10 * keys) {
			k, e := i%keys, write(key(i%keys), first+i/keys)
			if err := store.Apply(context.Background(), []kv.Entry{e}, done[:]); err != nil {
				return err
			}
			held := done[0].Held
			if held.Compare(e.Version) < 0 || held.Compare(seen[k]) < 0 || done[0].Was.Compare(seen[k]) < 0 {
				return fmt.Errorf("%v of %s after %v was applied and %v seen", done[0], e.Key, e.Version, seen[k])
			}
			seen[k] = held
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

// testOppositeOrders lets several write the same keys at once, some in batches
// that go through the keys in one order, some in the other, and some one by
// one. None may wait for another for ever, and in the end the newest stays.
func (s *suite) testOppositeOrders(t *testing.T) {
	const writers, keys = 6, 40
	rounds := s.effort(100, 20)
	store := s.opened(t)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			if err := writeOrdered(store, w, rounds, keys); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for k := range keys {
		newest := write(key(k), rounds)
		expect(t, store, &newest)
	}
}

// writeOrdered applies so many writes of every key, or of some in between, as
// the nth writer does.
func writeOrdered(store kv.Store, writer, rounds, keys int) error {
	seen := map[string]kv.Version{}
	for n := 1; n <= rounds; n++ {
		var all []kv.Entry
		for k := range keys {
			all = append(all, write(key(k), n))
		}
		if n < rounds && n%2 > 0 {
			all = all[:5]
		}
		size := len(all)
		switch writer % 3 {
		case 0:
			slices.Reverse(all)
		case 1:
			all, size = all[:5], 1
		}
		for batch := range slices.Chunk(all, size) {
			done := make([]kv.Applied, len(batch))
			if err := store.Apply(context.Background(), batch, done); err != nil {
				return err
			}
			for i := range done {
				k, v := string(batch[i].Key), done[i].Held
				if v.Compare(at(n)) < 0 || v.Compare(seen[k]) < 0 {
					return fmt.Errorf("%v of %s is held after %v was applied and %v seen", v, k, at(n), seen[k])
				}
				seen[k] = v
			}
		}
	}
	return nil
}
