package kvtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testReopen closes a store that holds entries of all kinds and opens it again,
// twice: all is there, and goes on as if it had never been closed.
func (s *suite) testReopen(t *testing.T) {
	store := s.reopened(t, s.opened(t)) // with nothing in it
	expectNone(t, store, key(1))
	entries := s.kinds()
	applyAll(t, store, entries)
	apply(t, store, write(key(1), 1))
	apply(t, store, write(key(1), 2)) // the last there is
	entries = append(entries, write(key(1), 2))
	s.purgeSome(t, store)
	if meta, ok := store.(kv.Metadata); ok {
		save(t, meta, "empty", nil)
		save(t, meta, "fact", []byte("old"))
		save(t, meta, "fact", fact("fact", 1, 64<<10))
	}
	for range 2 {
		closed := store
		stats := statsOf(store)
		durable, _ := store.(kv.Durable)
		store = s.reopened(t, store)
		s.expectAll(t, store, entries)
		if got := statsOf(store); got != stats {
			t.Errorf("Stats count %+v, and before %+v", got, stats)
		}
		if durable != nil && store.(kv.Durable).Durable() != durable.Durable() {
			t.Error("Durable has changed")
		}
		for name, call := range calls(closed) {
			if err := call(); !errors.Is(err, kv.ErrClosed) {
				t.Errorf("%s of the store that was closed: %v, want ErrClosed", name, err)
			}
		}
	}
	s.goOn(t, store, entries)
}

// purgeSome writes entries and purges them.
func (s *suite) purgeSome(t *testing.T, store kv.Store) {
	t.Helper()
	if _, ok := store.(kv.Purger); !ok {
		return
	}
	gone := []kv.Entry{write([]byte("purged"), 1), deletion([]byte("purged tombstone"), 1)}
	gone[0].Expires = start - 10_000
	apply(t, store, gone...)
	purge(t, store, refOf(&gone[0]), refOf(&gone[1]))
}

// kinds returns entries of all kinds, of one key each.
func (s *suite) kinds() []kv.Entry {
	large := maxValue
	if s.MaxValue > 0 {
		large = min(large, s.MaxValue)
	}
	expiring, expired := write([]byte("expiring"), 1), write([]byte("expired"), 2)
	expiring.Expires, expired.Expires = start+10_000, start-10_000
	swept := write([]byte("swept"), 3)
	swept.Expires = start - 10_000
	long := write([]byte("content type"), 4)
	long.ContentType = strings.Repeat("long", 75)
	return []kv.Entry{
		expiring, expired, tombstone(&swept), long,
		write([]byte{0}, 5),
		write([]byte{0xff}, 6),
		write(bytes.Repeat([]byte{0xff}, 1024), 7),
		write(bytes.Repeat([]byte{0}, 1024), 8),
		deletion([]byte("deleted"), 9),
		{Key: []byte("empty"), Version: at(10)},
		{Key: []byte("large"), Version: at(11), Value: bytes.Repeat([]byte{0, 'x', 0xff}, large/3+1)[:large]},
		{Key: []byte("node"), Version: kv.Version{Time: start << 16, Node: ^uint64(0)}, Value: []byte("v")},
		{Key: []byte("expires late"), Version: at(12), Value: []byte("v"), Expires: 1<<53 + 1},
	}
}

// expectAll fails the test where the store does not hold exactly these entries,
// and the facts that testReopen has saved.
func (s *suite) expectAll(t *testing.T, store kv.Store, entries []kv.Entry) {
	t.Helper()
	keys := make([][]byte, len(entries))
	for i := range entries {
		keys[i] = entries[i].Key
		expect(t, store, &entries[i])
		s.expectListed(t, store, &entries[i])
	}
	expectNone(t, store, []byte("never written"))
	expectNone(t, store, []byte("purged"))
	expectNone(t, store, []byte("purged tombstone"))
	s.checkListed(t, store, keys)
	if meta, ok := store.(kv.Metadata); ok {
		expectMeta(t, meta, "fact", fact("fact", 1, 64<<10))
		expectMeta(t, meta, "empty", nil)
		if data, err := meta.LoadMeta(context.Background(), "never"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("LoadMeta of nothing = %q, %v, want ErrNotFound", data, err)
		}
	}
}

// statsOf returns what a Counter counts, at moments before and after some of
// kinds expire.
func statsOf(store kv.Store) (stats [3]kv.Stats) {
	counter, ok := store.(kv.Counter)
	if !ok {
		return stats
	}
	for i, now := range []int64{start - 20_000, start, start + 20_000} {
		stats[i] = counter.Stats(now)
		stats[i].Resident = 0 // it may take more or less
	}
	return stats
}

// goOn writes to a store that was opened with these entries in it.
func (s *suite) goOn(t *testing.T, store kv.Store, entries []kv.Entry) {
	t.Helper()
	if expirer, ok := store.(kv.Expirer); ok {
		swept := 0
		for range 2 { // once round, and begun anywhere
			n, err := expirer.Expire(context.Background(), start, 1000)
			if err != nil {
				t.Fatalf("Expire: %v", err)
			}
			swept += n
		}
		if swept != 1 {
			t.Errorf("Expire made %d tombstones, want 1", swept)
		}
		for i := range entries {
			if !entries[i].Deleted && !entries[i].Live(start) {
				entries[i] = tombstone(&entries[i])
			}
			expect(t, store, &entries[i])
		}
	}
	for i := range entries {
		k := entries[i].Key
		older := kv.Entry{Key: k, Version: kv.Version{Time: 1}, Value: []byte("older")}
		newer := kv.Entry{Key: k, Version: at(1000), Value: []byte("newer")}
		was := entries[i].Version
		done := apply(t, store, older, newer)
		if done[0] != (kv.Applied{Held: was, Was: was}) || done[1] != (kv.Applied{Held: newer.Version, Was: was}) {
			t.Errorf("%v after %s, an older and a newer write", done, describe(&entries[i]))
		}
		expect(t, store, &newer)
	}
}
