package kvtest

import (
	"context"
	"errors"
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
	held := []kv.Version{at(77)}
	if err := store.Apply(context.Background(), []kv.Entry{larger}, held); !errors.Is(err, kv.ErrFull) {
		t.Errorf("a larger value in a full store: %v, want ErrFull", err)
	}
	if !held[0].IsZero() {
		t.Errorf("held is %v after ErrFull, want the zero version", held[0])
	}
	first := wide(0)
	expect(t, store, &first)

	for n := range taken {
		tombstone := deletion(key(n), 2000)
		if held := apply(t, store, tombstone); held[0] != tombstone.Version {
			t.Fatalf("a deletion in a full store is not held: %v", held[0])
		}
		expect(t, store, &tombstone)
	}
	apply(t, store, deletion([]byte("never written"), 2000))
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
