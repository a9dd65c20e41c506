package kvtest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testScanFrom begins a scan at, before and behind each key of a partition.
func (s *suite) testScanFrom(t *testing.T) {
	store := s.opened(t)
	keys := s.together(100)
	for i, k := range keys {
		e := write(k, i)
		if i%3 == 0 {
			e = deletion(k, i) // tombstones are listed like others
		}
		apply(t, store, e)
	}
	scanner := store.(kv.Scanner)
	for i, k := range keys {
		behind := append(bytes.Clone(k), 0) // the next key there is
		for from, want := range map[string]int{string(k): len(keys) - i, string(behind): len(keys) - i - 1} {
			if got := s.scan(t, scanner, 0, []byte(from), len(keys)); len(got) != want {
				t.Fatalf("Scan from %q visited %d keys, want %d", from, len(got), want)
			}
		}
	}
	s.scan(t, scanner, 0, nil, 1) // it checks that visit ends it
}

// testScanDuringWrites writes from within a scan: all keys anew, so that their
// entries move, and others that come between. Each old key must be visited
// once, in order, with an entry that somebody wrote.
func (s *suite) testScanDuringWrites(t *testing.T) {
	store := s.opened(t)
	var old, fresh [][]byte
	for i, k := range s.together(200) {
		if i%2 == 0 {
			old = append(old, k)
			apply(t, store, write(k, 0))
		} else {
			fresh = append(fresh, k)
		}
	}
	var visited []kv.Entry
	var unsteady error
	err := store.(kv.Scanner).Scan(context.Background(), 0, nil, func(e *kv.Entry) bool {
		before := clone(e)
		unsteady = disturb(store, old, fresh, len(visited)+1)
		if unsteady == nil && !same(e, &before) {
			unsteady = fmt.Errorf("%s changed during visit", describe(&before))
		}
		visited = append(visited, before)
		return unsteady == nil
	})
	if err != nil || unsteady != nil {
		t.Fatal(err, unsteady)
	}
	checkVisited(t, visited, old)
}

// disturb writes all keys of old as their nth write, and one of fresh.
func disturb(store kv.Store, old, fresh [][]byte, n int) error {
	batch := []kv.Entry{write(fresh[n%len(fresh)], n)}
	for _, k := range old {
		batch = append(batch, write(k, n))
	}
	return store.Apply(context.Background(), batch, nil)
}

func checkVisited(t *testing.T, visited []kv.Entry, old [][]byte) {
	t.Helper()
	times := map[string]int{}
	for i := range visited {
		e := &visited[i]
		times[string(e.Key)]++
		if removed := (kv.Entry{Key: e.Key, Version: e.Version, Deleted: true}); !written(e) && !same(e, &removed) {
			t.Errorf("visited %s, which nobody wrote", describe(e))
		}
		if i > 0 && bytes.Compare(visited[i-1].Key, e.Key) >= 0 {
			t.Errorf("visited %s after %s", e.Key, visited[i-1].Key)
		}
	}
	for _, k := range old {
		if times[string(k)] != 1 {
			t.Errorf("%s was visited %d times", k, times[string(k)])
		}
	}
}
