package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// copyOf returns a new store with the same entries, that nothing was ever
// replaced in.
func copyOf(t *testing.T, m *Memory) *Memory {
	t.Helper()
	c := newMemory(t, MemoryOptions{Partitions: m.partitions})
	for p := range m.partitions {
		err := m.Scan(t.Context(), p, nil, func(e *Entry) bool {
			put(t, c, *e)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// checkSpace fails where a store takes much more than one that nothing was
// ever replaced in: half as much again, and two slabs for each shard.
func checkSpace(t *testing.T, m *Memory) {
	t.Helper()
	checkMemory(t, m)
	fresh := copyOf(t, m).Stats(0).Resident
	limit := fresh*3/2 + int64(2*slabSize*len(m.shards))
	if got := m.Stats(0).Resident; got > limit {
		t.Errorf("%d bytes are resident, where a new store has %d, and %d are tolerated", got, fresh, limit)
	}
}

// TestOverwritesAreReclaimed replaces values by larger and smaller ones, 40
// times as many bytes as the store holds in the end.
func TestOverwritesAreReclaimed(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 2})
	rnd := rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		for i := range 1000 {
			put(t, m, Entry{Key: nthKey(i), Value: make([]byte, rnd.IntN(2000)), Version: Version{Time: uint64(n)}})
		}
	}
	checkSpace(t, m)
}

// TestDeletionsAndExpiryAreReclaimed: tombstones take little.
func TestDeletionsAndExpiryAreReclaimed(t *testing.T) {
	t.Parallel()
	const keys, expires = 5000, 1000
	m := newMemory(t, MemoryOptions{Partitions: 2})
	for i := range keys {
		e := Entry{Key: nthKey(i), Value: make([]byte, 1000), Version: Version{Time: 1}}
		if i%2 == 0 {
			e.Expires = expires
		}
		put(t, m, e)
	}
	for i := 1; i < keys; i += 2 {
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 2}, Deleted: true})
	}
	if n, err := m.Expire(t.Context(), expires, keys); n != keys/2 || err != nil {
		t.Fatalf("Expire = %d, %v, want %d", n, err, keys/2)
	}
	checkSpace(t, m)
	if st := m.Stats(0); st.Entries != keys || st.Keys != 0 || st.Bytes != 0 || st.Resident > keys*100 {
		t.Errorf("%+v is left of %d deleted keys", st, keys)
	}
}

// TestLargeRecords: each has a slab of exactly its size, that goes with it.
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 1})
	put(t, m, Entry{Key: nthKey(1), Version: Version{Time: 1}})
	empty := m.Stats(0).Resident
	for n, size := range []int{maxShared, maxShared + 1, slabSize, 1 << 20, 1 << 20, 7 << 17, 1 << 19, maxShared + 1} {
		put(t, m, Entry{Key: nthKey(1), Value: make([]byte, size), Version: Version{Time: uint64(n + 2)}})
		if got, most := m.Stats(0).Resident-empty, int64(size*9/8+slabBytes); got > most {
			t.Errorf("a value of %d bytes takes %d, want at most %d", size, got, most)
		}
		checkMemory(t, m)
	}
	put(t, m, Entry{Key: nthKey(1), Version: Version{Time: 100}, Deleted: true})
	if got := m.Stats(0).Resident; got > empty+slabSize {
		t.Errorf("%d bytes are left of a large record, %d were there before", got, empty)
	}
}

// TestFullStore: above MaxBytes no value is taken, and tombstones are; what
// they free can be filled again.
func TestFullStore(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 8} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			t.Parallel()
			m := newMemory(t, MemoryOptions{Partitions: partitions, MaxBytes: 2 << 20})
			taken := fillMemory(t, m, 1)
			for i := 0; i < taken; i += 2 {
				put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 2}, Deleted: true})
			}
			if again := fillMemory(t, m, 3); again < taken/3 {
				t.Errorf("%d values fill the store, and when half of them were deleted, %d more", taken, again)
			}
			checkMemory(t, m)
		})
	}
}

// fillMemory puts new values until one is refused, and returns how many were
// taken.
func fillMemory(t *testing.T, m *Memory, time uint64) int {
	t.Helper()
	for n := 0; ; n++ {
		batch := []Entry{
			{Key: nthKey(int(time-1)<<20 + n), Value: make([]byte, 1000), Version: Version{Time: time}},
			{Key: []byte("tombstone"), Version: Version{Time: time<<32 + uint64(n)}, Deleted: true},
		}
		done := make([]Applied, 2)
		err := m.Apply(t.Context(), batch, done)
		if done[1].Held != batch[1].Version {
			t.Fatalf("the tombstone behind value %d was not taken: %v", n, err)
		}
		if got, limit := m.resident.Load(), m.maxBytes+slabBytes; m.maxBytes > 0 && got > limit {
			t.Fatalf("%d bytes are resident, the limit and a slab are %d", got, limit)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrFull) || done[0] != (Applied{}) {
			t.Fatalf("value %d: %v, held %v, want ErrFull", n, err, done[0])
		}
		return n
	}
}

// TestSlabNumbersRunOut: a shard that has used up its numbers takes what fits
// its head slab and what needs none, and what it holds can be read, replaced
// where it stands and deleted.
func TestSlabNumbersRunOut(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 1})
	put(t, m, Entry{Key: nthKey(0), Value: make([]byte, 1000), Version: Version{Time: 1}})
	a := &m.shards[0].arena
	a.fills = append(a.fills, make([]fill, maxSlabs-len(a.slabs))...)
	a.slabs = append(a.slabs, make([]*slab, maxSlabs-len(a.slabs))...)

	n := fillMemory(t, m, 1)
	if n < slabSize/1200 || n > slabSize/1000 {
		t.Errorf("the head slab takes %d values of 1000 bytes", n)
	}
	put(t, m, Entry{Key: nthKey(n), Value: make([]byte, maxShared+1), Version: Version{Time: 2}})
	put(t, m, Entry{Key: nthKey(1), Value: make([]byte, 1000), Version: Version{Time: 2}})
	for i := range n {
		if got, err := m.Get(t.Context(), nthKey(i), nil); err != nil || len(got.Value) != 1000 {
			t.Errorf("got %d bytes of value %d, %v", len(got.Value), i, err)
		}
	}
	put(t, m, Entry{Key: nthKey(n), Version: Version{Time: 3}, Deleted: true})
	put(t, m, Entry{Key: nthKey(1), Version: Version{Time: 3}, Deleted: true})
	checkMemory(t, m)
	a.free = []int{500, 501, 502} // and with few numbers left over
	churn(t, m, rand.New(rand.NewPCG(7, 8)), 4, 500)
	checkMemory(t, m)
}
