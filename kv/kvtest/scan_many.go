package kvtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// crowded returns a store that holds many entries in partition 0, and what it
// holds, in order. Every tenth is a tombstone.
func (s *suite) crowded(t *testing.T) (kv.Store, []kv.Entry) {
	t.Helper()
	store := s.opened(t)
	var entries []kv.Entry
	for i, k := range s.together(many) {
		e := write(k, i)
		if i%10 == 0 {
			e = deletion(k, i)
		}
		entries = append(entries, e)
	}
	applyAll(t, store, entries)
	return store, entries
}

// testScanMany scans more entries than stores list at a time, from anywhere to
// anywhere.
func (s *suite) testScanMany(t *testing.T) {
	store, entries := s.crowded(t)
	for _, from := range []int{0, 99, 1000, many - 1} {
		for _, limit := range []int{1, 65, 256, 1001, many + 1} {
			found := s.scan(t, store.(kv.Scanner), 0, entries[from].Key, limit)
			want := entries[from:min(from+limit, many)]
			if len(found) != len(want) {
				t.Fatalf("Scan from number %d of %d visited %d, want %d", from, many, len(found), len(want))
			}
			for i := range want {
				if !same(&found[i], &want[i]) {
					t.Fatalf("Scan visited %s, want %s", describe(&found[i]), describe(&want[i]))
				}
			}
		}
	}
}

// testScanAmongWriters scans while others write: every key anew again and
// again, as a value or as a tombstone, and keys that come between. Each scan
// must visit each old key once, in order, with an entry that somebody wrote and
// that is no older than when the scan began.
func (s *suite) testScanAmongWriters(t *testing.T) {
	store := s.opened(t)
	var old, fresh [][]byte
	var first []kv.Entry
	for i, k := range s.together(1200) {
		if i%2 == 0 {
			old, first = append(old, k), append(first, write(k, 0))
		} else {
			fresh = append(fresh, k)
		}
	}
	applyAll(t, store, first)
	var rounds atomic.Int64 // of writing all old keys, those that were finished
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for n := 1; writeRound(t, store, old, n, 50, done); n++ {
			rounds.Store(int64(n))
		}
	})
	group.Go(func() {
		for n := 1; writeRound(t, store, fresh, n, 3, done); n++ {
		}
	})
	for n := 0; (n < 10 || rounds.Load() < 5 && n < 1000) && !t.Failed(); n++ {
		since := int(rounds.Load())
		var visited []kv.Entry
		err := store.(kv.Scanner).Scan(context.Background(), 0, nil, func(e *kv.Entry) bool {
			visited = append(visited, clone(e))
			return true
		})
		if err != nil {
			t.Error(err)
		}
		checkVisited(t, visited, old)
		if err := checkSince(visited, old, since); err != nil {
			t.Error(err)
		}
	}
	close(done)
	group.Wait()
}

// writeRound writes all keys as their nth write, or deletes them in every
// third round, so many at a time. It reports whether it came to the end.
func writeRound(t *testing.T, store kv.Store, keys [][]byte, n, size int, done <-chan struct{}) bool {
	for from := 0; from < len(keys); from += size {
		select {
		case <-done:
			return false
		default:
		}
		var batch []kv.Entry
		for _, k := range keys[from:min(from+size, len(keys))] {
			e := write(k, n)
			if n%3 == 0 {
				e = deletion(k, n)
			}
			batch = append(batch, e)
		}
		if err := store.Apply(context.Background(), batch, nil); err != nil {
			t.Error(err)
			return false
		}
	}
	return true
}

// checkSince checks that no entry of old is older than its write of a number.
func checkSince(visited []kv.Entry, old [][]byte, number int) error {
	mine := map[string]bool{}
	for _, k := range old {
		mine[string(k)] = true
	}
	for i := range visited {
		if e := &visited[i]; mine[string(e.Key)] && e.Version.Compare(at(number)) < 0 {
			return fmt.Errorf("visited %s, though version %v was there before", describe(e), at(number))
		}
	}
	return nil
}

// testScanCancelled ends the context of a scan, before it and while it visits.
// It returns an error, or it has visited all there is.
func (s *suite) testScanCancelled(t *testing.T) {
	store, entries := s.crowded(t)
	for _, last := range []int{0, 1, 300, 1050, many - 1, many} {
		ctx, cancel := context.WithCancel(context.Background())
		if last == 0 {
			cancel()
		}
		visited := 0
		err := store.(kv.Scanner).Scan(ctx, 0, nil, func(*kv.Entry) bool {
			if visited++; visited == last {
				cancel()
			}
			return true
		})
		cancel()
		if misblames(err) || err == nil && visited != many {
			t.Errorf("a scan that was cancelled when it had visited %d visited %d of %d: %v", last, visited, many, err)
		}
		if found := s.scan(t, store.(kv.Scanner), 0, nil, many+1); len(found) != len(entries) {
			t.Errorf("the scan after one that was cancelled visited %d, want %d", len(found), len(entries))
		}
	}
}

// testScanDuringClose closes a store while a scan visits, and lets the visitor
// call it meanwhile. The scan returns ErrClosed, or it has visited all there
// is.
func (s *suite) testScanDuringClose(t *testing.T) {
	for _, last := range []int{1, 1000, many - 10} {
		store, entries := s.crowded(t)
		var closing sync.WaitGroup
		visited := 0
		var unexpected error
		err := store.(kv.Scanner).Scan(context.Background(), 0, nil, func(*kv.Entry) bool {
			if visited++; visited == last {
				begun := make(chan struct{})
				closing.Go(func() {
					close(begun)
					if err := store.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				<-begun
				unexpected = awaitClosed(store, entries[1].Key, s.effort(5000, 500))
			}
			return true
		})
		closing.Wait()
		if unexpected != nil {
			t.Errorf("Get while the store was being closed: %v", unexpected)
		}
		if !errors.Is(err, kv.ErrClosed) && (err != nil || visited != many) {
			t.Errorf("a scan that met Close when it had visited %d visited %d of %d: %v", last, visited, many, err)
		}
	}
}

// awaitClosed reads k until that returns ErrClosed, or so many times where Close
// lets a scan end first. It returns any other error.
func awaitClosed(store kv.Store, k []byte, times int) error {
	for range times {
		if _, err := store.Get(context.Background(), k, nil); errors.Is(err, kv.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		runtime.Gosched()
	}
	return nil
}
