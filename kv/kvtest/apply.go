package kvtest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// testAnyOrder applies the same entries in two orders, one of them with
// repetitions and cut otherwise into batches: the same must be held.
func (s *suite) testAnyOrder(t *testing.T) {
	s.check(t, func(rt *rapid.T) {
		d := newDrawer(rt, s.MaxValue)
		entries := rapid.SliceOfN(rapid.Custom(d.entry), 1, 40).Draw(rt, "entries")
		other := append(rapid.Permutation(entries).Draw(rt, "permutation"), entries[:len(entries)/2]...)
		one, two := s.open(t), s.open(t)
		defer one.Close()
		defer two.Close()
		for batch := range slices.Chunk(entries, rapid.IntRange(1, 40).Draw(rt, "batch")) {
			apply(rt, one, batch...)
		}
		for batch := range slices.Chunk(other, rapid.IntRange(1, 40).Draw(rt, "other batch")) {
			apply(rt, two, batch...)
		}
		for i := range entries {
			e := get(rt, one, entries[i].Key)
			expect(rt, two, &e)
		}
	})
}

// testHeld checks held where keys come several times, in a batch that is large
// and one that is small.
func (s *suite) testHeld(t *testing.T) {
	store := s.opened(t)
	k, lost, dead := key(1), key(2), key(3)
	apply(t, store, write(lost, 9), deletion(dead, 9))
	batch := []kv.Entry{
		write(k, 2), write(k, 1), write(k, 3), write(k, 3), write(k, 2), // in order
		write(lost, 8), write(lost, 9), write(lost, 10),
		write(dead, 8), deletion(dead, 9), deletion(dead, 10),
	}
	want := []int{2, 2, 3, 3, 3, 9, 9, 10, 9, 9, 10}
	held := slices.Repeat([]kv.Version{at(77)}, len(batch)) // what stood there must not stay
	if err := store.Apply(context.Background(), batch, held); err != nil {
		t.Fatal(err)
	}
	for i, n := range want {
		if held[i] != at(n) {
			t.Errorf("held[%d] is %v after %s, want %v", i, held[i], describe(&batch[i]), at(n))
		}
	}
	if held := apply(t, store, write(k, 1)); held[0] != at(3) {
		t.Errorf("an older write alone: %v is held, want %v", held[0], at(3))
	}
	if err := store.Apply(context.Background(), []kv.Entry{write(k, 4)}, nil); err != nil {
		t.Fatalf("Apply without held: %v", err)
	}
	newest := write(k, 4)
	expect(t, store, &newest)
}

// testVersions orders versions that differ in any one bit, in both orders.
func (s *suite) testVersions(t *testing.T) {
	store := s.opened(t)
	var versions []kv.Version
	for bit := range 64 {
		versions = append(versions, kv.Version{Node: 1 << bit}, kv.Version{Time: 1 << bit},
			kv.Version{Time: 1 << bit, Node: 1}, kv.Version{Time: ^uint64(0), Node: 1 << bit},
			kv.Version{Time: start << 16, Node: ^uint64(1 << bit)}, kv.Version{Time: start<<16 ^ 1<<bit})
	}
	slices.SortFunc(versions, kv.Version.Compare)
	versions = slices.Compact(versions)
	var batch []kv.Entry
	var want []kv.Version
	for i, newer := range versions[1:] {
		older := versions[i]
		up, down := fmt.Appendf(nil, "up-%d", i), fmt.Appendf(nil, "down-%d", i)
		batch = append(batch,
			kv.Entry{Key: up, Version: older, Value: []byte("old")}, kv.Entry{Key: up, Version: newer, Value: []byte("new")},
			kv.Entry{Key: down, Version: newer, Value: []byte("new")}, kv.Entry{Key: down, Version: older, Value: []byte("old")})
		want = append(want, older, newer, newer, newer)
	}
	for i, held := range apply(t, store, batch...) {
		if held != want[i] {
			t.Fatalf("%v is held of %s after %v was applied, want %v", held, batch[i].Key, batch[i].Version, want[i])
		}
	}
	for i := 1; i < len(batch); i += 4 {
		expect(t, store, &batch[i])
		expect(t, store, &batch[i+1])
	}
}

func (s *suite) testKeepsNoReference(t *testing.T) {
	store := s.opened(t)
	for _, n := range []int{1, 30} { // entries in a batch
		var batch, want []kv.Entry
		for i := range n {
			e := write(key(100*n+i), 1)
			batch, want = append(batch, clone(&e)), append(want, e)
		}
		apply(t, store, batch...)
		scribble(batch)
		for i := range want {
			expect(t, store, &want[i])
		}
	}
}
