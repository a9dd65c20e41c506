package kvtest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testFull fills a store. What it took must stay, what it refused must not be
// there, and deletions must go on.
func (s *suite) testFull(t *testing.T) {
	store := s.OpenFull(t)
	defer store.Close()
	taken := fill(t, store)
	for n := range taken {
		e := wide(n)
		expect(t, store, &e)
	}
	expectNone(t, store, key(taken))

	larger := wide(0)
	larger.Version, larger.Value = at(1000), make([]byte, 8*len(larger.Value))
	done := []kv.Applied{{Held: at(77), Was: at(77)}}
	if err := store.Apply(context.Background(), []kv.Entry{larger}, done); !errors.Is(err, kv.ErrFull) {
		t.Errorf("a larger value in a full store: %v, want ErrFull", err)
	}
	if done[0] != (kv.Applied{}) {
		t.Errorf("done is %v after ErrFull, want zero", done[0])
	}
	first := wide(0)
	expect(t, store, &first)
	mixed := []kv.Entry{deletion([]byte("first"), 1), larger, deletion([]byte("last"), 1)}
	s.checkRefused(t, store, mixed, kv.ErrFull)
	expect(t, store, &first)
	if meta, ok := store.(kv.Metadata); ok {
		save(t, meta, "fact", fact("fact", 1, 4<<10))
		expectMeta(t, meta, "fact", fact("fact", 1, 4<<10))
	}

	deleteWide(t, store, taken-1, taken)
	gone := 0
	if _, ok := store.(kv.Purger); ok {
		gone = taken / 4
	}
	for n := range gone {
		if e := wide(n); !purge(t, store, refOf(&e))[0] {
			t.Fatal("a purge in a full store does not say that it did its work")
		}
		expectNone(t, store, key(n))
	}
	deleteWide(t, store, gone, taken-1)
	apply(t, store, deletion([]byte("never written"), 2000))
}

// deleteWide deletes what a store was filled with, from one number up to another.
func deleteWide(t *testing.T, store kv.Store, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		tombstone := deletion(key(n), 2000)
		if done := apply(t, store, tombstone); done[0] != (kv.Applied{Held: tombstone.Version, Was: at(1)}) {
			t.Fatalf("a deletion in a full store: %v", done[0])
		}
		expect(t, store, &tombstone)
	}
}

// wide returns the nth entry that a store is filled with.
func wide(n int) kv.Entry {
	return kv.Entry{Key: key(n), Value: make([]byte, 4<<10), Version: at(1)}
}

// fill writes entries until the store is full, and returns how many it took.
func fill(t *testing.T, store kv.Store) int {
	t.Helper()
	for n := range 64 << 20 / len(wide(0).Value) {
		switch err := store.Apply(context.Background(), []kv.Entry{wide(n)}, nil); {
		case errors.Is(err, kv.ErrFull):
			return n
		case err != nil:
			t.Fatal(err)
		}
	}
	t.Fatal("the store took 64 MiB, and is not full")
	return 0
}

// testTooLarge: an entry above the store's limit is refused, alone and among
// others, and what is in its place stays.
func (s *suite) testTooLarge(t *testing.T) {
	store := s.opened(t)
	small := write(key(1), 1)
	apply(t, store, small)
	large := kv.Entry{Key: key(1), Value: make([]byte, s.MaxValue+1), Version: at(2)}
	done := []kv.Applied{{Held: at(77), Was: at(77)}}
	if err := store.Apply(context.Background(), []kv.Entry{large}, done); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("Apply of %d bytes: %v, want ErrTooLarge", len(large.Value), err)
	}
	if done[0] != (kv.Applied{}) {
		t.Errorf("done is %v after ErrTooLarge, want zero", done[0])
	}
	expect(t, store, &small)
	for _, n := range []int{4, 60} { // entries beside it
		var batch []kv.Entry
		for i := range n {
			batch = append(batch, write(key(100+i), n))
		}
		batch[n/2] = large
		s.checkRefused(t, store, batch, kv.ErrTooLarge)
		expect(t, store, &small)
	}
}

// checkRefused applies entries of which the store has to refuse one. What it
// says of the others, held or not, must be true.
func (s *suite) checkRefused(t *testing.T, store kv.Store, batch []kv.Entry, want error) {
	t.Helper()
	done := slices.Repeat([]kv.Applied{{Held: at(77), Was: at(77)}}, len(batch))
	err := store.Apply(context.Background(), batch, done)
	if !errors.Is(err, want) {
		t.Fatalf("Apply of %d entries: %v, want %v", len(batch), err, want)
	}
	checkDone(t, store, batch, done, err)
	for i := range batch {
		if done[i] != (kv.Applied{}) {
			continue
		}
		e, err := store.Get(context.Background(), batch[i].Key, nil)
		if !errors.Is(err, kv.ErrNotFound) && (err != nil || e.Version == batch[i].Version) {
			t.Fatalf("done[%d] was zero, but there is %s, %v", i, describe(&e), err)
		}
	}
}
