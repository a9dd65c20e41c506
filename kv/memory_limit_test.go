package kv

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestSmallestLimit: a limit that an empty store would reach is refused, and
// the error names the least that is not.
func TestSmallestLimit(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 100, 1024} {
		_, err := NewMemory(MemoryOptions{Partitions: partitions, MaxBytes: 1})
		if err == nil {
			t.Fatalf("a limit of one byte is taken with %d partitions", partitions)
		}
		var least int64
		_, text, _ := strings.Cut(err.Error(), "at least ")
		if _, serr := fmt.Sscan(text, &least); serr != nil {
			t.Fatalf("%v: %v", err, serr)
		}
		if _, err := NewMemory(MemoryOptions{Partitions: partitions, MaxBytes: least - 1}); err == nil {
			t.Errorf("%d partitions: a limit of %d is taken", partitions, least-1)
		}
		// It holds something, whatever the key.
		m := newMemory(t, MemoryOptions{Partitions: partitions, MaxBytes: least})
		for i := range partitions {
			put(t, m, Entry{Key: nthKey(i), Value: nthKey(i), Version: Version{Time: 1}})
		}
		if st := m.Stats(0); st.Resident > least {
			t.Errorf("%d partitions: %d bytes are resident, the limit is %d", partitions, st.Resident, least)
		}
	}
}

// fillTo puts values of this size under new keys until every shard has refused
// some, and returns the keys that were taken.
func fillTo(t *testing.T, m *Memory, size int) (taken []int) {
	t.Helper()
	refused := 0
	for i := 0; refused < 20*len(m.shards); i++ {
		err := m.Apply(t.Context(), []Entry{{Key: nthKey(i), Value: make([]byte, size), Version: Version{Time: 1}}}, nil)
		switch {
		case err == nil:
			taken = append(taken, i)
		case errors.Is(err, ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	return taken
}

// TestFullStoreTakesAgain: what is deleted or expires anywhere in a full store
// can be filled again, by values under the same keys and, but for what the
// tombstones take, under new ones. No put takes the store above its limit, or
// further above it, but by the slab that it evacuates to.
func TestFullStoreTakesAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1000, 10_000} {
		for _, how := range []string{"delete", "expire", "new keys", "purge"} {
			t.Run(fmt.Sprintf("%d/%s", size, how), func(t *testing.T) {
				t.Parallel()
				opts := MemoryOptions{Partitions: 8, MaxBytes: 3 << 20}
				if how == "new keys" {
					opts.Partitions = 1 // or some shards get more of them than went
				}
				m := newMemory(t, opts)
				taken := fillTo(t, m, size)
				gone := take(t, m, taken, how)
				again, most := 0, max(m.Stats(0).Resident, opts.MaxBytes)+slabBytes
				for n, i := range gone {
					e := Entry{Key: nthKey(i), Value: make([]byte, size-n%2), Version: Version{Time: 3}}
					if how == "new keys" {
						e.Key = nthKey(1<<30 + i)
					}
					if err := m.Apply(t.Context(), []Entry{e}, nil); err == nil {
						again++
					} else if !errors.Is(err, ErrFull) {
						t.Fatal(err)
					}
					if st := m.Stats(0); st.Resident > most {
						t.Fatalf("%d bytes are resident, want at most %d", st.Resident, most)
					}
				}
				want := len(gone) * 97 / 100
				if how == "new keys" {
					// Records of mixed sizes leave more room unused at the slabs' ends.
					want = len(gone) * (size - 60) / (size + 60) * 85 / 100
				}
				if again < want {
					t.Errorf("%d values filled the store, %d went, and only %d were taken again", len(taken), len(gone), again)
				}
				checkMemory(t, m)
			})
		}
	}
}

// take deletes, expires or purges a tenth of the keys, spread over the store, and
// returns those.
func take(t *testing.T, m *Memory, keys []int, how string) (gone []int) {
	t.Helper()
	for n := 0; n < len(keys); n += 10 {
		e := Entry{Key: nthKey(keys[n]), Version: Version{Time: 2}, Deleted: true}
		if how == "expire" {
			old, err := m.Get(t.Context(), e.Key, nil)
			if err != nil {
				t.Fatal(err)
			}
			// Eight bytes less of value make up for the expiry.
			e = Entry{Key: e.Key, Value: old.Value[8:], Version: e.Version, Expires: 1000}
		}
		if how == "purge" {
			purgeHeld(t, m, e.Key)
		} else {
			put(t, m, e)
		}
		gone = append(gone, keys[n])
	}
	if n, err := m.Expire(t.Context(), 1000, 1<<30); err != nil || how == "expire" && n != len(gone) {
		t.Fatalf("Expire = %d, %v, want %d", n, err, len(gone))
	}
	return gone
}

// TestGarbageIsWonAnywhere: in a full store, room for keys of one shard is found
// where it was left in the same shard, if it is less than a slab, and in others.
func TestGarbageIsWonAnywhere(t *testing.T) {
	t.Parallel()
	const partitions, size, few = 4, 1000, slabSize / 2000
	for _, deleteFrom := range []int{0, 1} {
		t.Run(fmt.Sprint(deleteFrom), func(t *testing.T) {
			t.Parallel()
			m := newMemory(t, MemoryOptions{Partitions: partitions, MaxBytes: 1 << 20})
			want := few
			if deleteFrom != 0 {
				want = 4 * few // takes whole slabs
			}
			deleted := 0
			for _, i := range fillTo(t, m, size) {
				if deleted < want+few && Partition(nthKey(i), partitions) == deleteFrom {
					put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 2}, Deleted: true})
					deleted++
				}
			}
			taken := 0
			for i := 1 << 30; taken < want; i++ {
				if Partition(nthKey(i), partitions) != 0 {
					continue
				}
				err := m.Apply(t.Context(), []Entry{{Key: nthKey(i), Value: make([]byte, size), Version: Version{Time: 3}}}, nil)
				if err != nil {
					t.Fatalf("%d values of partition %d went, and %d of partition 0 were taken: %v", deleted, deleteFrom, taken, err)
				}
				taken++
			}
			checkMemory(t, m)
		})
	}
}

// TestFullStoreReplaces: in a full store each value can be replaced by one that
// is not larger, over and over.
func TestFullStoreReplaces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1000, 10_000, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			m := newMemory(t, MemoryOptions{Partitions: 8, MaxBytes: 1 << 20})
			taken := fillTo(t, m, size)
			for n, sub := range []int{0, 1, 2, size / 8, size / 2, size} {
				for _, i := range taken {
					put(t, m, Entry{Key: nthKey(i), Value: make([]byte, size-sub), Version: Version{Time: uint64(n + 2)}})
				}
				if got := m.Stats(0).Resident; size == 10_000 && sub == size/2 && got > m.maxBytes*3/4 {
					t.Errorf("%d bytes are resident when all values are half as large, the limit is %d", got, m.maxBytes)
				}
				checkMemory(t, m)
			}
		})
	}
}

// TestResidentIsReal compares what a store says it takes with what the heap
// has grown by. It must not run beside other tests.
func TestResidentIsReal(t *testing.T) {
	if testing.Short() {
		t.Skip("the heap of a store of many records")
	}
	live := func() int64 {
		runtime.GC()
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		return int64(ms.HeapAlloc)
	}
	for _, size := range []int{36, 1000, 10_000} {
		before := live()
		m := newMemory(t, MemoryOptions{})
		compare := func(when string) {
			t.Helper()
			real, said := live()-before, m.Stats(0).Resident
			if off := real - said; off > said/20+200_000 || -off > said/20+200_000 {
				t.Errorf("values of %d bytes, %s: the heap has grown by %d, resident is %d", size, when, real, said)
			}
		}
		compare("empty")
		keys := 8_000_000 / (size + 100)
		for i := range keys {
			put(t, m, Entry{Key: nthKey(i), Value: make([]byte, size), Version: Version{Time: 1}, Expires: int64(i) * 300})
		}
		compare("filled")
		for i := range keys * 9 / 10 {
			put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 2}, Deleted: true})
		}
		compare("emptied")
		m.Close()
	}
}
