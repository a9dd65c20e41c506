package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// reaches reports whether a lookup comes by a slot.
func reaches(t *table, s slot) bool {
	for i := t.home(s.tag()); ; i = t.after(i) {
		for _, other := range t.buckets()[i] {
			if other == s {
				return true
			}
			if other == 0 {
				return false
			}
		}
	}
}

// TestTableRemove adds and removes slots, most of which have few homes, so that
// they stand far from these and round the end. All that are there are found,
// and nothing else is left.
func TestTableRemove(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(9, 9))
	for _, homes := range []uint32{1, 2, 30} {
		var tab table
		there := map[slot]bool{}
		for n := range 6000 {
			if n%1000 < 600 {
				tag := rnd.Uint32N(homes) * (1<<32/30 + 1)
				if rnd.IntN(4) == 0 {
					tag = 1<<32 - 1 - rnd.Uint32N(1<<20) // the last home
				}
				if tab.full() {
					tab.grow()
				}
				s := newSlot(tag, location(n+1))
				tab.insert(s)
				tab.used++
				there[s] = true
			} else {
				for s := range there {
					tab.remove(tab.bucketOf(s), s)
					tab.used--
					delete(there, s)
					break
				}
			}
			if n%50 > 0 {
				continue
			}
			left := 0
			for _, b := range bucketSlots(&tab) {
				for _, s := range b {
					if s != 0 {
						left++
					}
				}
			}
			if left != len(there) || left != int(tab.used) {
				t.Fatalf("%d homes, step %d: %d slots are left, want %d", homes, n, left, len(there))
			}
			for s := range there {
				if !reaches(&tab, s) {
					t.Fatalf("%d homes, step %d: a slot with home %d is not found", homes, n, tab.home(s.tag()))
				}
			}
		}
	}
}

// TestPurgedIsReclaimed: of what is purged nothing is left, in whatever order it
// goes, and what stays takes no more than in a new store.
func TestPurgedIsReclaimed(t *testing.T) {
	t.Parallel()
	const keys = 5000
	for _, partitions := range []int{1, 7} {
		m := newMemory(t, MemoryOptions{Partitions: partitions})
		empty := m.Stats(0).Resident
		rnd := rand.New(rand.NewPCG(3, uint64(partitions)))
		for i := range keys {
			e := Entry{Key: nthKey(i), Value: make([]byte, rnd.IntN(1500)), Version: Version{Time: 1}}
			if i%100 == 0 {
				e.Value = make([]byte, 2*maxShared)
			}
			if i%3 == 0 {
				e = Entry{Key: e.Key, Version: e.Version, Deleted: true}
			}
			put(t, m, e)
		}
		for n, i := range rnd.Perm(keys) {
			purgeHeld(t, m, nthKey(i))
			if n == keys*9/10 {
				checkSpaceBut(t, m, int64(keys)*16) // of tables, which do not shrink
			}
		}
		checkMemory(t, m)
		most := empty + int64(len(m.shards))*slabBytes
		if st := m.Stats(0); st.Entries != 0 || st.Keys != 0 || st.Bytes != 0 || st.Resident > most {
			t.Errorf("%+v is left, want at most %d bytes", st, most)
		}
	}
}

// checkSpaceBut is checkSpace, but with so many bytes more.
func checkSpaceBut(t *testing.T, m *Memory, more int64) {
	t.Helper()
	checkMemory(t, m)
	limit := copyOf(t, m).Stats(0).Resident*3/2 + int64(2*slabSize*len(m.shards)) + more
	if got := m.Stats(0).Resident; got > limit {
		t.Errorf("%d bytes are resident, and %d are tolerated", got, limit)
	}
}

// TestExpireAfterPurge: a sweep that stands amid a table whose entries are all
// purged goes on, and misses nothing that comes afterwards.
func TestExpireAfterPurge(t *testing.T) {
	t.Parallel()
	const keys = 3000
	m := newMemory(t, MemoryOptions{Partitions: 2})
	fill := func(expires int64) {
		for i := range keys {
			put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}, Expires: expires})
		}
	}
	fill(5000)
	if _, err := m.Expire(t.Context(), 1000, keys/4); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		purgeHeld(t, m, nthKey(i))
	}
	if n, err := m.Expire(t.Context(), 10_000, keys); n != 0 || err != nil {
		t.Errorf("Expire of nothing = %d, %v", n, err)
	}
	for i := range 10 { // into tables that are smaller than the sweep had come
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}, Expires: 5000})
	}
	m.sweep.slot = keys
	if n, err := m.Expire(t.Context(), 10_000, keys); n != 10 || err != nil { // or it goes on for ever
		t.Errorf("Expire = %d, %v, want 10", n, err)
	}
	for i := range 10 {
		purgeHeld(t, m, nthKey(i))
	}
	fill(1000)
	swept := 0
	for range 2 {
		n, err := m.Expire(t.Context(), 1000, 2*keys)
		if err != nil {
			t.Fatal(err)
		}
		swept += n
	}
	if swept != keys {
		t.Errorf("%d of %d were swept", swept, keys)
	}
}

func BenchmarkMemoryPurge(b *testing.B) {
	const keys = 10_000
	m := newMemory(b, MemoryOptions{})
	entries, refs := make([]Entry, keys), make([]Ref, keys)
	for i := range entries {
		entries[i] = Entry{Key: fmt.Appendf(nil, "key %d", i), Value: make([]byte, 36), Version: Version{Time: 1}}
		refs[i] = Ref{Key: entries[i].Key, Version: entries[i].Version}
	}
	for i := 0; b.Loop(); i++ {
		if i%keys == 0 {
			b.StopTimer()
			if err := m.Apply(b.Context(), entries, nil); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if err := m.Purge(b.Context(), refs[i%keys:i%keys+1], nil); err != nil {
			b.Fatal(err)
		}
	}
}
