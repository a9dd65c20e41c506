package kv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
)

// newMemory returns a store, closed when the test ends.
func newMemory(t testing.TB, opts MemoryOptions) *Memory {
	t.Helper()
	m, err := NewMemory(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// put applies one entry.
func put(t testing.TB, m *Memory, e Entry) {
	t.Helper()
	if err := m.Apply(context.Background(), []Entry{e}, nil); err != nil {
		t.Fatalf("apply %q: %v", e.Key, err)
	}
}

func nthKey(n int) []byte { return fmt.Appendf(nil, "key-%d", n) }

// churn applies n random entries to few keys, with versions above from, and
// expires and purges some. Records of all kinds come up, and are replaced by one
// another.
func churn(t testing.TB, m *Memory, rnd *rand.Rand, from, n int) {
	t.Helper()
	room := make([]byte, 1<<17)
	for i := range n {
		e := Entry{
			Key:     nthKey(rnd.IntN(300)),
			Version: Version{Time: uint64(from + rnd.IntN(n)), Node: uint64(rnd.IntN(600))},
		}
		switch rnd.IntN(20) {
		case 0:
			e.Deleted = true
		case 1:
			e.Value = room[:rnd.IntN(len(room))]
		case 2, 3:
			e.Value = room[:rnd.IntN(maxShared)]
		default:
			e.Value = room[:rnd.IntN(400)]
		}
		if rnd.IntN(4) == 0 {
			e.Expires = int64(rnd.IntN(5000))
		}
		if rnd.IntN(4) == 0 {
			e.ContentType = fmt.Sprintf("type/%0*d", rnd.IntN(150), rnd.IntN(400))
		}
		if err := m.Apply(context.Background(), []Entry{e}, nil); err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if i%7 == 0 {
			purgeHeld(t, m, nthKey(rnd.IntN(300)))
		}
		if i%100 == 0 {
			if _, err := m.Expire(context.Background(), int64(rnd.IntN(5000)), 50); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// purgeHeld purges what is held of a key, if anything is.
func purgeHeld(t testing.TB, m *Memory, key []byte) {
	t.Helper()
	e, err := m.Get(context.Background(), key, nil)
	if errors.Is(err, ErrNotFound) {
		return
	}
	if err == nil {
		err = m.Purge(context.Background(), []Ref{{Key: key, Version: e.Version}}, nil)
	}
	if err != nil {
		t.Fatalf("purge %q: %v", key, err)
	}
}

// checkMemory holds what a store counts against what it contains.
func checkMemory(t testing.TB, m *Memory) {
	t.Helper()
	resident := int64(len(m.shards)) * int64(shardBytes+len(m.shards[0].tables)*tableBytes)
	expiring := ledger{resident: new(atomic.Int64)}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		resident += checkArena(t, m, &s.arena, checkTables(t, m, i, &expiring))
		for j := range s.tables {
			resident += int64(int(s.tables[j].n) * bucketBytes)
		}
		s.mu.RUnlock()
	}
	resident += int64(m.expiring.most * lineBytes)
	if got := m.resident.Load(); got != resident {
		t.Errorf("resident is %d, counted %d", got, resident)
	}
	if got := &m.expiring; got.total != expiring.total ||
		!maps.Equal(got.lines, expiring.lines) || !maps.Equal(got.pages, expiring.pages) {
		t.Errorf("the ledger has %+v, %d lines, %d pages, counted %+v, %d, %d", got.total,
			len(got.lines), len(got.pages), expiring.total, len(expiring.lines), len(expiring.pages))
	}
}

// checkTables checks one shard's tables and counts. It enters what expires to
// the ledger, and returns the locations that the slots refer to.
func checkTables(t testing.TB, m *Memory, shard int, expiring *ledger) map[location]bool {
	t.Helper()
	s := &m.shards[shard]
	refs := map[location]bool{}
	var lasting counts
	for i := range s.tables {
		tab := &s.tables[i]
		used, expires := 0, 0
		for _, sl := range slices.Concat(bucketSlots(tab)...) {
			if sl == 0 {
				continue
			}
			used++
			r := m.dict.parse(s.arena.at(sl.loc()))
			refs[sl.loc()] = true
			if at := m.place(r.key); r.flags&flagDead != 0 || at != (place{uint32(shard), uint32(i), sl.tag()}) {
				t.Errorf("a slot of table %d refers to %q, flags %x, that belongs at %+v", i, r.key, r.flags, at)
			}
			if found := tab.find(&s.arena, sl.tag(), r.key); found == nil || *found != sl {
				t.Errorf("%q at %x is not found, or in another slot", r.key, sl.loc())
			}
			switch c := r.live(); {
			case c.keys > 0 && r.expires != 0:
				expires++
				expiring.add(r.expires, c)
			default:
				lasting.add(c)
			}
		}
		if used != int(tab.used) || expires != int(s.expiring[i]) {
			t.Errorf("table %d counts %d used, %d expiring, but has %d, %d", i, tab.used, s.expiring[i], used, expires)
		}
	}
	if lasting != s.lasting || int64(len(refs)) != s.entries {
		t.Errorf("shard %d counts %+v, %d entries, but has %+v, %d", shard, s.lasting, s.entries, lasting, len(refs))
	}
	return refs
}

// bucketSlots returns the slots of each bucket.
func bucketSlots(t *table) [][]slot {
	var all [][]slot
	for i := range t.buckets() {
		all = append(all, t.buckets()[i][:])
	}
	return all
}

// checkArena walks an arena's slabs: the records that are not dead, and those
// that have memory of their own, must be those referred to. It returns the
// bytes that the arena takes.
func checkArena(t testing.TB, m *Memory, a *arena, refs map[location]bool) (resident int64) {
	t.Helper()
	live, dead, records := 0, 0, 0
	for id, slab := range a.slabs {
		if slab == nil {
			continue
		}
		f, slabLive := a.fills[id], 0
		for offset := 0; offset < int(f.used); {
			if n := fillerSize(slab[offset:]); n > 0 {
				offset += n
				continue
			}
			r := m.dict.parse(slab[offset:])
			if r.flags&flagDead == 0 {
				slabLive += r.size
				records++
				if l := newLocation(id, offset); !refs[l] {
					t.Errorf("nothing refers to the record at %x", l)
				}
			}
			offset += r.size
		}
		if slabLive != int(f.live) || f.live == 0 && (id != a.head || f.used > 0) {
			t.Errorf("slab %d counts %d live bytes, has %d", id, f.live, slabLive)
		}
		live, dead = live+slabLive, dead+int(f.used)-slabLive
		resident += slabBytes
	}
	for id, own := range a.owns {
		if own == nil {
			continue
		}
		records++
		if l := ownBit | location(id); !refs[l] {
			t.Errorf("nothing refers to the record at %x", l)
		}
		resident += int64(cap(own) + ownBytes)
	}
	if live != a.live || dead != a.dead || records != len(refs) {
		t.Errorf("the arena counts %d live and %d dead bytes, %d references, but has %d, %d, %d",
			a.live, a.dead, len(refs), live, dead, records)
	}
	return resident
}
