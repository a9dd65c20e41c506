package kv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// benchRecords is how many records the benchmarks hold, each of a 36-byte key
// and a 36-byte value.
const benchRecords = 1_000_000

const benchType = "text/plain; charset=utf-8"

// keySet is keys that look like UUIDs, one behind the other, so that they give
// the garbage collector nothing to walk.
type keySet []byte

const keyLen = 36

func (k keySet) len() int                { return len(k) / keyLen }
func (k keySet) at(i int) []byte         { return k[i*keyLen : (i+1)*keyLen : (i+1)*keyLen] }
func (k keySet) any(r *rand.Rand) []byte { return k.at(r.IntN(k.len())) }

func benchKeys(n int) keySet {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make(keySet, 0, n*keyLen)
	for range n {
		hi, lo := rnd.Uint64(), rnd.Uint64()
		keys = fmt.Appendf(keys, "%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&0xffff_ffff_ffff)
	}
	return keys
}

// benchEntry returns the entry of a key as its nth write.
func benchEntry(key []byte, n int) Entry {
	return Entry{Key: key, Value: key, Version: Version{Time: uint64(n), Node: 7}, ContentType: benchType}
}

// heap returns the live heap in bytes, and how long a forced collection takes.
func heap() (int64, time.Duration) {
	runtime.GC()
	start := time.Now()
	runtime.GC()
	took := time.Since(start)
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapInuse), took
}

// filled returns a Memory that holds the keys, and reports what it takes.
func filled(b *testing.B, keys keySet) *Memory {
	b.Helper()
	before, _ := heap()
	m, err := NewMemory(MemoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var one [1]Entry
	for i := range keys.len() {
		key := keys.at(i)
		one[0] = benchEntry(key, 1)
		if err := m.Apply(context.Background(), one[:], nil); err != nil {
			b.Fatal(err)
		}
	}
	after, gc := heap()
	b.Cleanup(func() {
		b.ReportMetric(float64(after-before)/float64(keys.len()), "B/record")
		b.ReportMetric(float64(m.Stats(0).Resident)/float64(keys.len()), "resident/record")
		b.ReportMetric(float64(gc.Microseconds())/1000, "gc-ms")
	})
	return m
}

// lockedMap is what the store is measured against: what one would write first.
type lockedMap struct {
	mu sync.RWMutex // guards m
	m  map[string]mapEntry
}

// mapEntry is an Entry that is kept in a map.
type mapEntry struct {
	value, contentType string
	version            Version
	expires            int64
	deleted            bool
}

func newLockedMap() *lockedMap { return &lockedMap{m: map[string]mapEntry{}} }

func (l *lockedMap) get(key, dst []byte) Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.m[string(key)]
	return Entry{
		Key: key, Value: append(dst[:0], e.value...), Version: e.version,
		Expires: e.expires, ContentType: e.contentType, Deleted: e.deleted,
	}
}

func (l *lockedMap) put(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.m[string(e.Key)]; e.Version.Compare(old.version) > 0 {
		l.m[string(e.Key)] = mapEntry{string(e.Value), e.ContentType, e.Version, e.Expires, e.Deleted}
	}
}

func filledMap(b *testing.B, keys keySet) *lockedMap {
	b.Helper()
	before, _ := heap()
	l := newLockedMap()
	for i := range keys.len() {
		e := benchEntry(keys.at(i), 1)
		l.put(&e)
	}
	after, gc := heap()
	b.Cleanup(func() {
		b.ReportMetric(float64(after-before)/float64(keys.len()), "B/record")
		b.ReportMetric(float64(gc.Microseconds())/1000, "gc-ms")
	})
	return l
}

func BenchmarkMemoryGet(b *testing.B) {
	keys := benchKeys(benchRecords)
	b.Run("memory", func(b *testing.B) {
		m := filled(b, keys)
		dst := make([]byte, 0, 64)
		rnd := rand.New(rand.NewPCG(3, 4))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Get(context.Background(), keys.any(rnd), dst); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		l := filledMap(b, keys)
		dst := make([]byte, 0, 64)
		rnd := rand.New(rand.NewPCG(3, 4))
		b.ReportAllocs()
		for b.Loop() {
			if e := l.get(keys.any(rnd), dst); len(e.Value) == 0 {
				b.Fatal("not found")
			}
		}
	})
}

// BenchmarkMemoryPut overwrites random keys.
func BenchmarkMemoryPut(b *testing.B) {
	keys := benchKeys(benchRecords)
	b.Run("memory", func(b *testing.B) {
		m := filled(b, keys)
		rnd := rand.New(rand.NewPCG(3, 4))
		var one [1]Entry
		n := 1
		b.ReportAllocs()
		for b.Loop() {
			n++
			one[0] = benchEntry(keys.any(rnd), n)
			if err := m.Apply(context.Background(), one[:], nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("resize", func(b *testing.B) { // no value is as long as the one it replaces
		m := filled(b, keys)
		rnd := rand.New(rand.NewPCG(3, 4))
		var one [1]Entry
		n := 1
		b.ReportAllocs()
		for b.Loop() {
			n++
			one[0] = benchEntry(keys.any(rnd), n)
			one[0].Value = one[0].Value[:rnd.IntN(37)]
			if err := m.Apply(context.Background(), one[:], nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		l := filledMap(b, keys)
		rnd := rand.New(rand.NewPCG(3, 4))
		n := 1
		b.ReportAllocs()
		for b.Loop() {
			n++
			e := benchEntry(keys.any(rnd), n)
			l.put(&e)
		}
	})
}

// BenchmarkMemoryFill puts new keys one after the other, from none to
// benchRecords, and begins anew; an operation is one put.
func BenchmarkMemoryFill(b *testing.B) {
	keys := benchKeys(benchRecords)
	b.Run("memory", func(b *testing.B) {
		var m *Memory
		var one [1]Entry
		n := 0
		for b.Loop() {
			if n%keys.len() == 0 {
				m, _ = NewMemory(MemoryOptions{})
			}
			one[0] = benchEntry(keys.at(n%keys.len()), 1)
			if err := m.Apply(context.Background(), one[:], nil); err != nil {
				b.Fatal(err)
			}
			n++
		}
	})
	b.Run("map", func(b *testing.B) {
		var l *lockedMap
		n := 0
		for b.Loop() {
			if n%keys.len() == 0 {
				l = newLockedMap()
			}
			e := benchEntry(keys.at(n%keys.len()), 1)
			l.put(&e)
			n++
		}
	})
}

// BenchmarkMemoryApply overwrites a thousand random keys one by one, and then a
// thousand in one batch, in turns; the ratio is the time of the latter by that
// of the former: below 1 batches are faster.
func BenchmarkMemoryApply(b *testing.B) {
	const size = 1000
	keys := benchKeys(benchRecords)
	m := filled(b, keys)
	rnd := rand.New(rand.NewPCG(3, 4))
	entries := make([]Entry, size)
	done := make([]Applied, size)
	var turns [2][]time.Duration
	n := 1
	for b.Loop() {
		for i, batch := range []int{1, size} {
			n++
			for i := range entries {
				entries[i] = benchEntry(keys.any(rnd), n)
			}
			start := time.Now()
			for i := 0; i < size; i += batch {
				if err := m.Apply(context.Background(), entries[i:i+batch], done[i:i+batch]); err != nil {
					b.Fatal(err)
				}
			}
			turns[i] = append(turns[i], time.Since(start))
		}
	}
	reportTurns(b, turns, size, "single-ns", "batch-ns")
}

// BenchmarkMemoryRatio does the same to a Memory and to a map in turns of a
// thousand, so that whatever else the machine does meets both alike. The times
// are medians of turns, and the ratio is the map's by the store's: above 1 the
// store is faster. Random keys among all are mostly not in the processor's
// cache, which costs both the same; keys=cached takes that out.
func BenchmarkMemoryRatio(b *testing.B) {
	keys := benchKeys(benchRecords)
	m, l := filled(b, keys), filledMap(b, keys)
	ctx := context.Background()
	dst := make([]byte, 0, 64)
	var one [1]Entry
	for _, op := range []struct {
		name   string
		memory func(key []byte, n int)
		locked func(key []byte, n int)
	}{
		{
			"get",
			func(key []byte, _ int) { one[0], _ = m.Get(ctx, key, dst) },
			func(key []byte, _ int) { one[0] = l.get(key, dst) },
		},
		{
			"put",
			func(key []byte, n int) {
				one[0] = benchEntry(key, n)
				_ = m.Apply(ctx, one[:], nil)
			},
			func(key []byte, n int) {
				one[0] = benchEntry(key, n)
				l.put(&one[0])
			},
		},
	} {
		for _, cached := range []bool{false, true} {
			name := op.name + "/keys=random"
			if cached {
				name = op.name + "/keys=cached"
			}
			b.Run(name, func(b *testing.B) { inTurns(b, keys, cached, op.memory, op.locked) })
		}
	}
}

// inTurns calls both for random keys with a rising n, and reports how long they
// take and the second's time by the first's.
func inTurns(b *testing.B, keys keySet, cached bool, first, second func(key []byte, n int)) {
	b.Helper()
	const turn = 1000
	rnd := rand.New(rand.NewPCG(3, 4))
	var turns [2][]time.Duration
	chosen, copied := make([][]byte, turn), make(keySet, 0, turn*keyLen)
	n := int(time.Now().UnixNano()) // above those of an earlier run
	for b.Loop() {
		for i, call := range []func([]byte, int){first, second} {
			copied = copied[:0]
			for j := range chosen {
				chosen[j] = keys.any(rnd)
				if cached {
					copied = append(copied, chosen[j]...)
					chosen[j] = copied.at(j)
				}
			}
			start := time.Now()
			for _, key := range chosen {
				n++
				call(key, n)
			}
			turns[i] = append(turns[i], time.Since(start))
		}
	}
	reportTurns(b, turns, turn, "memory-ns", "map-ns")
}

// reportTurns reports the medians of turns of n operations as times of one.
func reportTurns(b *testing.B, turns [2][]time.Duration, n int, units ...string) {
	b.Helper()
	var took [2]float64
	for i, unit := range units {
		slices.Sort(turns[i])
		took[i] = float64(turns[i][len(turns[i])/2].Nanoseconds()) / float64(n)
		b.ReportMetric(took[i], unit)
	}
	b.ReportMetric(took[1]/took[0], "ratio")
}
