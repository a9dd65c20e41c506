package kvtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// refOf returns the ref of an entry.
func refOf(e *kv.Entry) kv.Ref { return kv.Ref{Key: e.Key, Version: e.Version} }

// purge purges refs, and returns which it says it did, or fails the test.
func purge(t tester, store kv.Store, refs ...kv.Ref) []bool {
	t.Helper()
	purged := make([]bool, len(refs))
	for i := range purged {
		purged[i] = i%2 == 0 // what stood there must not stay
	}
	if err := store.(kv.Purger).Purge(context.Background(), refs, purged); err != nil {
		t.Fatalf("Purge of %d refs: %v", len(refs), err)
	}
	return purged
}

// testPurge purges entries of all kinds, by their version and by others, alone
// and together: only what is held exactly goes, and nothing stays of it.
func (s *suite) testPurge(t *testing.T) {
	for _, together := range []bool{false, true} {
		store := s.opened(t)
		var refs []kv.Ref
		var want []bool
		var gone, kept []kv.Entry
		for i, e := range s.kinds() {
			entries := []kv.Entry{e, e}
			entries[1].Key = append(bytes.Clone(e.Key[:min(len(e.Key), 1000)]), "kept"...)
			apply(t, store, entries...)
			stays, beside := refOf(&entries[1]), refOf(&entries[1])
			stays.Version.Time, beside.Version.Node = e.Version.Time+1-2*uint64(i%2), e.Version.Node^1
			refs = append(refs, stays, refOf(&e), refOf(&e), beside)
			want = append(want, false, true, false, false)
			gone, kept = append(gone, e), append(kept, entries[1])
		}
		refs, want = append(refs, kv.Ref{Key: []byte("unknown"), Version: at(1)}), append(want, false)
		refs, want = append(refs, kv.Ref{Key: []byte("unknown")}), append(want, false)
		var purged []bool
		if together {
			purged = purge(t, store, refs...)
		} else {
			for _, ref := range refs {
				purged = append(purged, purge(t, store, ref)...)
			}
		}
		if !slices.Equal(purged, want) {
			t.Errorf("Purge says %v, want %v", purged, want)
		}
		s.expectPurged(t, store, gone, kept)
		purgeWithout(t, store, kept)
	}
}

// expectPurged fails the test where the store does not hold exactly what is
// kept, or does not take what was purged as if it had never been there.
func (s *suite) expectPurged(t *testing.T, store kv.Store, gone, kept []kv.Entry) {
	t.Helper()
	all := model{}
	keys := make([][]byte, len(kept))
	for i := range kept {
		all.offer(kept[i])
		keys[i] = kept[i].Key
		expect(t, store, &kept[i])
	}
	for i := range gone {
		expectNone(t, store, gone[i].Key)
	}
	s.checkListed(t, store, keys)
	checkStats(t, store, all)
	for i := range gone {
		older := kv.Entry{Key: gone[i].Key, Version: kv.Version{Time: 1, Node: 1}, Value: []byte("older"), Expires: start}
		all.offer(older)
		if done := apply(t, store, older); done[0] != (kv.Applied{Held: older.Version}) {
			t.Errorf("%v after an older write of %s, which was purged", done[0], shorten(older.Key))
		}
		expect(t, store, &older)
		s.expectListed(t, store, &older)
	}
	checkStats(t, store, all)
}

// checkStats compares what a Counter counts with a model, before, while and
// after entries expire.
func checkStats(t *testing.T, store kv.Store, want model) {
	t.Helper()
	counter, ok := store.(kv.Counter)
	if !ok {
		return
	}
	for _, now := range []int64{start - 20_000, start, start + 20_000} {
		got := counter.Stats(now)
		if got.Resident = 0; got != want.stats(now) {
			t.Errorf("Stats(%d) = %+v, want %+v", now, got, want.stats(now))
		}
	}
}

// purgeWithout purges without asking what was.
func purgeWithout(t *testing.T, store kv.Store, entries []kv.Entry) {
	t.Helper()
	var refs []kv.Ref
	for i := range entries {
		refs = append(refs, refOf(&entries[i]))
	}
	for _, refs := range [][]kv.Ref{refs, nil} {
		if err := store.(kv.Purger).Purge(context.Background(), refs, nil); err != nil {
			t.Fatalf("Purge without purged: %v", err)
		}
	}
	for i := range entries {
		expectNone(t, store, entries[i].Key)
	}
}

// testPurgeMany purges more keys at once than stores do in one step, some of
// them while a scan visits them, until there is none.
func (s *suite) testPurgeMany(t *testing.T) {
	store, entries := s.crowded(t)
	var refs, rest []kv.Ref
	for i := range entries {
		if i%3 == 0 {
			rest = append(rest, refOf(&entries[i]))
		} else {
			refs = append(refs, refOf(&entries[i]))
		}
	}
	for i, purged := range purge(t, store, refs...) {
		if !purged {
			t.Fatalf("Purge says that it did not purge number %d of %d", i, len(refs))
		}
	}
	for i := range entries {
		if i%3 == 0 {
			expect(t, store, &entries[i])
		} else {
			expectNone(t, store, entries[i].Key)
		}
	}
	if scanner, ok := store.(kv.Scanner); ok {
		purgeVisited(t, store, scanner, rest)
		s.checkListed(t, store, nil)
	} else {
		purge(t, store, rest...)
	}
	checkStats(t, store, model{})
	for i := range entries {
		expectNone(t, store, entries[i].Key)
	}
	applyAll(t, store, entries)
	for i := range entries {
		expect(t, store, &entries[i])
	}
}

// purgeVisited scans partition 0, which holds exactly what refs say, and purges
// some entries when the first of them is visited, of one page of a store and of
// the next: those behind it may be visited or not, and all others are.
func purgeVisited(t *testing.T, store kv.Store, scanner kv.Scanner, refs []kv.Ref) {
	t.Helper()
	var visited [][]byte
	var failed error
	err := scanner.Scan(context.Background(), 0, nil, func(e *kv.Entry) bool {
		visited = append(visited, bytes.Clone(e.Key))
		at := slices.IndexFunc(refs, func(r kv.Ref) bool { return bytes.Equal(r.Key, e.Key) })
		if at < 0 || at%40 != 0 {
			return true
		}
		failed = store.(kv.Purger).Purge(context.Background(), refs[at:min(at+20, len(refs))], nil)
		return failed == nil
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	for i, ref := range refs {
		has := slices.ContainsFunc(visited, func(k []byte) bool { return bytes.Equal(k, ref.Key) })
		if stays := i%40 == 0 || i%40 >= 20; stays && !has {
			t.Errorf("%s was not visited, number %d of %d", ref.Key, i, len(refs))
		}
	}
	purge(t, store, refs...)
}

// testPurgeDuringWrites writes and purges the same keys from several sides at
// once. What each call found must be what another has left, and no write is
// undone that was not purged.
func (s *suite) testPurgeDuringWrites(t *testing.T) {
	const writers, keys = 3, 3
	writes, purges := s.effort(300, 60), int64(s.effort(60, 10)) // at least
	store := s.opened(t)
	var h history
	var newest [keys]atomic.Int64 // write that was begun
	var purged atomic.Int64
	var writing, purging sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for n := 0; (n < writes || purged.Load() < purges && n < 50*writes) && !t.Failed(); n++ {
				k := n % keys
				e := write(key(k), 1+w+writers*(n/keys))
				if n%4 == 3 {
					e = deletion(e.Key, 1+w+writers*(n/keys))
				}
				newest[k].Store(int64(e.Version.Time - start<<16))
				var said [1]kv.Applied
				if err := store.Apply(context.Background(), []kv.Entry{e}, said[:]); err != nil {
					t.Error(err)
				}
				h.add(e.Key, said[0])
			}
		})
		purging.Go(func() {
			for !t.Failed() {
				select {
				case <-done:
					return
				default:
				}
				n, err := purgeNewest(store, &h, key(w), at(int(newest[w].Load())))
				if err != nil {
					t.Error(err)
				}
				purged.Add(n)
			}
		})
	}
	writing.Wait()
	close(done)
	purging.Wait()
	for k := range keys {
		e, err := store.Get(context.Background(), key(k), nil)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			t.Error(err)
		}
		if err := h.check(key(k), e.Version); err != nil {
			t.Error(err)
		}
	}
}

// purgeNewest purges what is held of a key, and another version, and notes what
// it did. It returns how many were there.
func purgeNewest(store kv.Store, h *history, k []byte, other kv.Version) (n int64, err error) {
	e, err := store.Get(context.Background(), k, nil)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return 0, err
	}
	refs, purged := []kv.Ref{{Key: k, Version: e.Version}, {Key: k, Version: other}}, make([]bool, 2)
	if err := store.(kv.Purger).Purge(context.Background(), refs, purged); err != nil {
		return 0, err
	}
	for i := range refs {
		if purged[i] {
			h.add(k, kv.Applied{Was: refs[i].Version})
			n++
		}
	}
	return n, nil
}
