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

// testHeld checks what Apply says was and is held where keys come several times,
// in a batch that is large and in one that is small, and beside an expired entry.
func (s *suite) testHeld(t *testing.T) {
	store := s.opened(t)
	k, lost, dead, expiring := key(1), key(2), key(3), key(4)
	expired := write(expiring, 9)
	expired.Expires = start
	apply(t, store, write(lost, 9), deletion(dead, 9), expired)
	batch := []kv.Entry{
		write(k, 2), write(k, 1), write(k, 3), write(k, 3), write(k, 2), // in order
		write(lost, 8), write(lost, 9), write(lost, 10),
		write(dead, 8), deletion(dead, 9), deletion(dead, 10),
		write(expiring, 8), tombstone(&expired), expired, write(expiring, 10),
	}
	want := []kv.Applied{
		applied(0, 2), applied(2, 2), applied(2, 3), applied(3, 3), applied(3, 3),
		applied(9, 9), applied(9, 9), applied(9, 10),
		applied(9, 9), applied(9, 9), applied(9, 10),
		applied(9, 9), applied(9, 9), applied(9, 9), applied(9, 10),
	}
	done := slices.Repeat([]kv.Applied{{Held: at(77), Was: at(77)}}, len(batch)) // what stood there must not stay
	if err := store.Apply(context.Background(), batch, done); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if done[i] != want[i] {
			t.Errorf("done[%d] is %v after %s, want %v", i, done[i], describe(&batch[i]), want[i])
		}
	}
	for _, alone := range []struct {
		entry kv.Entry
		want  kv.Applied
	}{
		{write(k, 1), applied(3, 3)},
		{write(k, 3), applied(3, 3)},
		{write(k, 4), applied(3, 4)},
		{deletion(k, 5), applied(4, 5)},
		{write(k, 6), applied(5, 6)},
		{write(key(5), 1), applied(0, 1)},
		{deletion(key(6), 1), applied(0, 1)},
	} {
		if done := apply(t, store, alone.entry); done[0] != alone.want {
			t.Errorf("done is %v after %s alone, want %v", done[0], describe(&alone.entry), alone.want)
		}
	}
	if err := store.Apply(context.Background(), []kv.Entry{write(k, 7)}, nil); err != nil {
		t.Fatalf("Apply without done: %v", err)
	}
	newest := write(k, 7)
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
	for i, done := range apply(t, store, batch...) {
		if done.Held != want[i] {
			t.Fatalf("%v is held of %s after %v was applied, want %v", done.Held, batch[i].Key, batch[i].Version, want[i])
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
