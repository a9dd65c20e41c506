package kvtest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// maxValue is the largest value, in bytes, that users are promised.
const maxValue = 1 << 20

// testValueSizes replaces a value by a larger and a smaller one of each size
// about which stores may change how they keep it.
func (s *suite) testValueSizes(t *testing.T) {
	limit := maxValue
	if s.MaxValue > 0 {
		limit = min(limit, s.MaxValue)
	}
	var sizes []int
	for power := 1; power < limit; power *= 2 {
		sizes = append(sizes, power-1, power, power+1)
	}
	sizes = append(sizes, limit)
	down := slices.Clone(sizes)
	slices.Reverse(down)

	// With the longest key, a store has the least room for a value.
	widest := kv.Entry{Key: bytes.Repeat([]byte{0xff}, 1024), Value: make([]byte, limit), Version: at(1)}
	widest.ContentType = strings.Repeat("t", 255)
	store := s.opened(t)
	apply(t, store, widest)
	expect(t, store, &widest)
	pattern := bytes.Repeat([]byte("0123456789\x00\xff!"), maxValue/13+2)
	neighbour := write(key(2), 1)
	apply(t, store, neighbour)
	for n, size := range append(sizes, down...) {
		e := kv.Entry{Key: key(1), Value: pattern[n%13:][:size], Version: at(n)}
		apply(t, store, e)
		expect(t, store, &e)
	}
	expect(t, store, &neighbour)
}

// testKeys holds keys that are easily taken for each other, all at once.
func (s *suite) testKeys(t *testing.T) {
	store := s.opened(t)
	var keys [][]byte
	for b := range 256 {
		keys = append(keys, []byte{byte(b)}, bytes.Repeat([]byte{byte(b)}, 1024))
	}
	for _, size := range []int{2, 127, 128, 129, 250, 251, 255, 256, 1023} {
		for _, b := range []byte{0, '\n', ' ', '%', '/', ':', 'a', 0x80, 0xff} {
			keys = append(keys, bytes.Repeat([]byte{b}, size))
		}
	}
	for _, text := range []string{"a\x00", "a\x00b", "a/", "a/b", "a%2Fb", "a//b", "../a", "é", "e\u0301", "{a}b", "key-*"} {
		keys = append(keys, []byte(text))
	}
	var entries []kv.Entry
	for i, k := range keys {
		entries = append(entries, write(k, i))
	}
	applyAll(t, store, entries)
	for i, k := range keys {
		want := write(k, i)
		expect(t, store, &want)
	}
	expectNone(t, store, bytes.Repeat([]byte{0}, 3))
	s.checkListed(t, store, keys)
}

// testContentTypes keeps many and long media types apart.
func (s *suite) testContentTypes(t *testing.T) {
	types := []string{"", "t", "text/plain", "text/plain; charset=utf-8", "a/b; c=\"d\\\n\"", "é", "\x00", " "}
	for _, size := range []int{127, 128, 129, 255, 256, 300} {
		types = append(types, strings.Repeat("é", size/2), strings.Repeat("t", size))
	}
	for i := range 600 { // more than can be numbered by a byte
		types = append(types, fmt.Sprintf("application/x-%d", i))
	}
	store := s.opened(t)
	for round := range 2 { // the second gives each key another type
		var entries []kv.Entry
		for i := range types {
			e := write(key(i), round)
			e.ContentType = types[(i+round*5)%len(types)]
			entries = append(entries, e)
		}
		applyAll(t, store, entries)
		for i := range entries {
			expect(t, store, &entries[i])
		}
	}
}

// checkListed checks that scans list exactly these keys. Of a slow store it
// does not scan every partition.
func (s *suite) checkListed(t *testing.T, store kv.Store, keys [][]byte) {
	t.Helper()
	scanner, ok := store.(kv.Scanner)
	if !ok {
		return
	}
	var listed [][]byte
	mine := map[int]bool{}
	for _, k := range keys {
		mine[kv.Partition(k, s.Partitions)] = true
	}
	for p := range s.Partitions {
		if s.Slow && p >= 100 && !mine[p] {
			continue
		}
		for _, e := range s.scan(t, scanner, p, nil, len(keys)+1) {
			listed = append(listed, e.Key)
		}
	}
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, bytes.Compare)
	slices.SortFunc(listed, bytes.Compare)
	if !slices.EqualFunc(listed, sorted, bytes.Equal) {
		t.Errorf("scans list %d keys %q, want %d", len(listed), listed, len(sorted))
	}
}

// testGetBuffer: a value is appended to dst[:0], and belongs to the caller.
func (s *suite) testGetBuffer(t *testing.T) {
	store := s.opened(t)
	k := key(1)
	e := write(k, 1)
	apply(t, store, e)
	for _, dst := range [][]byte{nil, make([]byte, 3), []byte("something longer than the value"), make([]byte, 0, 1000)} {
		got, err := store.Get(context.Background(), k, dst)
		if err != nil || !same(&got, &e) {
			t.Fatalf("Get into %d bytes of room = %s, %v", cap(dst), describe(&got), err)
		}
		if fits := cap(dst) >= len(e.Value); fits && &got.Value[0] != &dst[:1][0] {
			t.Errorf("Get allocates, although the value fits in the %d bytes it was given", cap(dst))
		}
		if &got.Key[0] != &k[0] {
			t.Error("Get returns a key that is not the caller's")
		}
	}
	mine := get(t, store, k)
	scribble([]kv.Entry{{Value: mine.Value}})
	expect(t, store, &e) // not changed by what the caller does to its value
	mine = get(t, store, k)
	apply(t, store, write(k, 2))
	apply(t, store, deletion(k, 3))
	if !same(&mine, &e) {
		t.Error("a value that was read changed when the key was written")
	}
}
