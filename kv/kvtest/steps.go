package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/thunderdb/thunderdb/kv"
)

// start is the moment, in Unix milliseconds, about which the suite's entries
// are written and expire.
const start = 1_700_000_000_000

// at returns a version that is n after start.
func at(n int) kv.Version { return kv.Version{Time: start<<16 + uint64(n), Node: 1} }

// key returns the nth of a sequence of keys.
func key(n int) []byte { return strconv.AppendInt([]byte("key-"), int64(n), 10) }

// write returns a live entry of k as its nth write. Its value tells which. Of
// every second key it has the same length in each write, of the others not.
func write(k []byte, n int) kv.Entry {
	value, pad := fmt.Appendf(nil, "%s=%06d;", k, n), 100
	if k[len(k)-1]%2 == 0 {
		pad = n * 37 % 500
	}
	return kv.Entry{
		Key:         k,
		Value:       append(value, bytes.Repeat([]byte{'.'}, pad)...),
		Version:     at(n),
		ContentType: "text/plain",
	}
}

// written reports whether e is one of the entries that write returns.
func written(e *kv.Entry) bool {
	want := write(e.Key, int(e.Version.Time-start<<16))
	return same(e, &want)
}

func deletion(k []byte, n int) kv.Entry {
	return kv.Entry{Key: k, Version: at(n), Deleted: true}
}

// tombstone returns what an entry becomes when it expires.
func tombstone(e *kv.Entry) kv.Entry {
	return kv.Entry{Key: e.Key, Version: e.Version, Expires: e.Expires, Deleted: true}
}

// apply applies entries and returns what was and is held, or fails the test.
func apply(t tester, store kv.Store, entries ...kv.Entry) []kv.Applied {
	t.Helper()
	done := make([]kv.Applied, len(entries))
	if err := store.Apply(context.Background(), entries, done); err != nil {
		t.Fatalf("Apply of %d entries: %v", len(entries), err)
	}
	return done
}

// applied returns what is to be said of an entry that found the nth write of its
// key and left another; 0 stands for none.
func applied(was, held int) kv.Applied { return kv.Applied{Was: atOrNone(was), Held: atOrNone(held)} }

func atOrNone(n int) kv.Version {
	if n == 0 {
		return kv.Version{}
	}
	return at(n)
}

// get returns the entry of k, or fails the test.
func get(t tester, store kv.Store, k []byte) kv.Entry {
	t.Helper()
	e, err := store.Get(context.Background(), k, nil)
	if err != nil {
		t.Fatalf("Get(%s): %v", shorten(k), err)
	}
	return e
}

// expect fails the test where the store does not hold want.
func expect(t tester, store kv.Store, want *kv.Entry) {
	t.Helper()
	if got := get(t, store, want.Key); !same(&got, want) {
		t.Fatalf("Get(%s) = %s, want %s", shorten(want.Key), describe(&got), describe(want))
	}
}

func expectNone(t tester, store kv.Store, k []byte) {
	t.Helper()
	if e, err := store.Get(context.Background(), k, nil); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("Get(%s) of an unknown key = %s, %v, want ErrNotFound", shorten(k), describe(&e), err)
	}
}

// scan returns copies of what a scan visits, at most limit entries, and checks
// that it is in order, at or above from, and of the partition.
func (s *suite) scan(t tester, store kv.Scanner, partition int, from []byte, limit int) []kv.Entry {
	t.Helper()
	var found []kv.Entry
	// A store may have something open while it calls visit, so nothing fails
	// the test in there.
	err := store.Scan(context.Background(), partition, from, func(e *kv.Entry) bool {
		found = append(found, clone(e))
		return len(found) < limit
	})
	if err != nil {
		t.Fatalf("Scan(%d, %s): %v", partition, shorten(from), err)
	}
	if len(found) > limit {
		t.Fatalf("Scan went on after visit returned false")
	}
	last := from
	for i := range found {
		k := found[i].Key
		if c := bytes.Compare(k, last); c < 0 || c == 0 && i > 0 {
			t.Fatalf("Scan from %s visited %s after %s", shorten(from), shorten(k), shorten(last))
		}
		if p := kv.Partition(k, s.Partitions); p != partition {
			t.Fatalf("Scan of partition %d visited %s of %d", partition, shorten(k), p)
		}
		last = k
	}
	return found
}

func clone(e *kv.Entry) kv.Entry {
	c := *e
	c.Key, c.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	return c
}

// together returns n keys of partition 0, in order.
func (s *suite) together(n int) [][]byte {
	keys := slices.Clone(s.neighbours()[:n])
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// findNeighbours returns as many keys of partition 0 as any test asks for. It
// counts in decimal, for it tries millions of keys.
func (s *suite) findNeighbours() [][]byte {
	keys, try := make([][]byte, 0, many), []byte("key-00000000")
	for len(keys) < many {
		if kv.Partition(try, s.Partitions) == 0 {
			keys = append(keys, bytes.Clone(try))
		}
		digit := len(try) - 1
		for ; try[digit] == '9'; digit-- {
			try[digit] = '0'
		}
		try[digit]++
	}
	return keys
}

// many is more keys than stores have reason to list at a time.
const many = 2100

// applyAll applies many entries, some hundreds at a time.
func applyAll(t tester, store kv.Store, entries []kv.Entry) {
	t.Helper()
	for batch := range slices.Chunk(entries, 300) {
		apply(t, store, batch...)
	}
}
