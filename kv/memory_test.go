package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestNewMemoryRefusesNegativeOptions(t *testing.T) {
	t.Parallel()
	for _, opts := range []MemoryOptions{{Partitions: -1}, {MaxBytes: -1}} {
		if _, err := NewMemory(opts); err == nil {
			t.Errorf("NewMemory(%+v) does not fail", opts)
		}
	}
}

// TestMemoryStructure holds the store against its own counts after random
// writes of all kinds, also when it is always short of memory.
func TestMemoryStructure(t *testing.T) {
	t.Parallel()
	for _, opts := range []MemoryOptions{
		{Partitions: 1},
		{Partitions: 300},
		{Partitions: 1, MaxBytes: 1 << 20},
		{Partitions: 5, MaxBytes: 2 << 20},
	} {
		t.Run(fmt.Sprintf("partitions=%d,max=%d", opts.Partitions, opts.MaxBytes), func(t *testing.T) {
			t.Parallel()
			m := newMemory(t, opts)
			rnd := rand.New(rand.NewPCG(1, uint64(opts.MaxBytes)))
			for round := range 10 {
				churn(t, m, rnd, round*300, 600)
				checkMemory(t, m)
			}
		})
	}
}

// TestMemoryUnderLoad has everything going on at once, for the race detector,
// and for the structure that is left.
func TestMemoryUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 3, MaxBytes: 4 << 20})
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() { churn(t, m, rand.New(rand.NewPCG(2, uint64(i))), 0, 500) })
	}
	var dst []byte
	for _, call := range []func() error{
		func() error { return m.Scan(t.Context(), 1, nil, func(*Entry) bool { return true }) },
		func() error { m.Stats(2500); return nil },
		func() error {
			e, err := m.Get(t.Context(), nthKey(7), dst)
			if dst = e.Value; errors.Is(err, ErrNotFound) {
				err = nil
			}
			return err
		},
	} {
		group.Go(func() {
			for range 200 {
				if err := call(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	checkMemory(t, m)
}

// TestMemoryAllocatesNothing: neither a read into a buffer nor an overwrite
// leaves anything to collect.
func TestMemoryAllocatesNothing(t *testing.T) {
	m := newMemory(t, MemoryOptions{})
	e := Entry{Key: nthKey(1), Value: make([]byte, 36), ContentType: benchType, Version: Version{Time: 1, Node: 7}}
	put(t, m, e)
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Get(context.Background(), e.Key, dst); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
	one, done := []Entry{e}, make([]Applied, 1)
	if n := testing.AllocsPerRun(100, func() {
		one[0].Version.Time++
		if err := m.Apply(context.Background(), one, done); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Apply allocates %v times", n)
	}
}

// TestGrowthIsSpread: what grows in one step is a small part of the store.
func TestGrowthIsSpread(t *testing.T) {
	t.Parallel()
	const keys = 50_000
	m := newMemory(t, MemoryOptions{})
	for i := range keys {
		put(t, m, Entry{Key: nthKey(i), Value: make([]byte, 36), Version: Version{Time: 1}})
	}
	for i := range m.shards {
		for j := range m.shards[i].tables {
			if slots := int(m.shards[i].tables[j].n) * len(bucket{}); slots > keys/500 {
				t.Errorf("a table has %d slots in a store of %d keys", slots, keys)
			}
		}
	}
	checkMemory(t, m)
}

// TestLocksAreHeldBriefly: a long batch for one shard lets others in.
func TestLocksAreHeldBriefly(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 1})
	b := &batch{starts: make([]int32, maxShards+1)}
	for i := range 1000 {
		b.entries = append(b.entries, Entry{Key: nthKey(i), Value: make([]byte, i%7*1000), Version: Version{Time: 1}})
	}
	b.sort(m)
	for n := 0; n < len(b.entries); {
		next, lacking, err := m.applyRun(b, n)
		if err != nil || lacking != 0 {
			t.Fatal(lacking, err)
		}
		taken := 0
		for _, e := range b.entries[n:next] {
			taken += len(e.Value)
		}
		if next == n || taken > maxHold+6000 || next-n > maxHold/holdEntry {
			t.Fatalf("%d entries of %d bytes were applied under one hold", next-n, taken)
		}
		n = next
	}
}

// TestDictionaryIsBounded: more nodes and content types than there are numbers
// are all kept, and only so many are numbered.
func TestDictionaryIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 1})
	var want []Entry
	for i := range 2 * maxInterned {
		name := fmt.Sprintf("type/%d", i)
		if i%10 == 0 {
			name = string(bytes.Repeat([]byte("x"), maxInternedType+i))
		}
		want = append(want, Entry{Key: nthKey(i), Value: nthKey(i), ContentType: name, Version: Version{Time: 1, Node: uint64(i)}})
		put(t, m, want[i])
	}
	for _, e := range want {
		got, err := m.Get(t.Context(), e.Key, nil)
		if err != nil || got.ContentType != e.ContentType || got.Version != e.Version || !bytes.Equal(got.Value, e.Value) {
			t.Fatalf("got %+v, %v, want %+v", got, err, e)
		}
	}
	types, nodes := m.dict.types.now.Load(), m.dict.nodes.now.Load()
	if len(types.values) != maxInterned || len(nodes.values) != maxInterned {
		t.Errorf("%d types and %d nodes are numbered, want %d each", len(types.values), len(nodes.values), maxInterned)
	}
	for _, name := range types.values {
		if len(name) > maxInternedType {
			t.Errorf("a type of %d bytes is numbered", len(name))
		}
	}
	checkMemory(t, m)
}

// TestTagsMayCollide: keys that share a tag, and so a place in the table, are
// told apart by their bytes, also where the table's end is in between.
func TestTagsMayCollide(t *testing.T) {
	t.Parallel()
	for _, tag := range []uint32{0, 1 << 31, 1<<32 - 1} {
		m := newMemory(t, MemoryOptions{Partitions: 1})
		s := &m.shards[0]
		tab := &s.tables[0]
		var keys [][]byte
		for n := 1; n <= 300; n++ {
			keys = append(keys, bytes.Repeat([]byte{'a'}, n), append(bytes.Repeat([]byte{'a'}, n), 'b'))
		}
		for i, key := range keys {
			if tab.find(&s.arena, tag, key) != nil {
				t.Fatalf("%q is found before it is put", key)
			}
			d := m.dict.draft(&Entry{Key: key, Version: Version{Time: uint64(i)}})
			m.insert(s, place{tag: tag}, &d)
		}
		for i, key := range keys {
			sl := tab.find(&s.arena, tag, key)
			if sl == nil || m.dict.parse(s.arena.at(sl.loc())).version.Time != uint64(i) {
				t.Errorf("%q is not found, or another key in its place", key)
			}
		}
	}
}
