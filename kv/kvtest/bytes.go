package kvtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
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

	store := s.opened(t)
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

func (s *suite) testTooLarge(t *testing.T) {
	store := s.opened(t)
	small := write(key(1), 1)
	apply(t, store, small)
	large := kv.Entry{Key: key(1), Value: make([]byte, s.MaxValue+1), Version: at(2)}
	held := []kv.Version{at(77)}
	if err := store.Apply(context.Background(), []kv.Entry{large}, held); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("Apply of %d bytes: %v, want ErrTooLarge", len(large.Value), err)
	}
	if !held[0].IsZero() {
		t.Errorf("held is %v after ErrTooLarge, want the zero version", held[0])
	}
	expect(t, store, &small)
}

// testKeys holds keys that are easily taken for each other, all at once.
func (s *suite) testKeys(t *testing.T) {
	store := s.opened(t)
	var keys [][]byte
	for _, size := range []int{1, 2, 127, 128, 129, 250, 251, 255, 256, 1023, 1024} {
		for _, b := range []byte{0, '\n', ' ', '%', '/', ':', 'a', 0x80, 0xff} {
			keys = append(keys, bytes.Repeat([]byte{b}, size))
		}
	}
	for _, text := range []string{"a\x00", "a\x00b", "A", "a/", "a/b", "a%2Fb", "a//b", "../a", "é", "e\u0301", "{a}b", "*", "key-*"} {
		keys = append(keys, []byte(text))
	}
	for i, k := range keys {
		apply(t, store, write(k, i))
	}
	for i, k := range keys {
		want := write(k, i)
		expect(t, store, &want)
	}
	expectNone(t, store, bytes.Repeat([]byte{0}, 3))
	s.checkListed(t, store, keys)
}

// checkListed checks that scans list exactly these keys.
func (s *suite) checkListed(t *testing.T, store kv.Store, keys [][]byte) {
	t.Helper()
	scanner, ok := store.(kv.Scanner)
	if !ok {
		return
	}
	var listed [][]byte
	for p := range s.Partitions {
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
