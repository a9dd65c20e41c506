package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/memcachekv"
	"github.com/thunderdb/thunderdb/kv/pebblekv"
	"github.com/thunderdb/thunderdb/kv/rediskv"
)

// openStores opens the stores without a node around them.
func openStores() map[string]func(b *testing.B) (kv.Store, error) {
	disk := func(opts pebblekv.Options) func(b *testing.B) (kv.Store, error) {
		return func(b *testing.B) (kv.Store, error) { return pebblekv.Open(filepath.Join(b.TempDir(), "data"), opts) }
	}
	return map[string]func(b *testing.B) (kv.Store, error){
		"memory":      func(*testing.B) (kv.Store, error) { return kv.NewMemory(kv.MemoryOptions{}) },
		"disk":        disk(pebblekv.Options{}),
		"disk-nosync": disk(pebblekv.Options{NoSync: true}),
		"redis": func(b *testing.B) (kv.Store, error) {
			return rediskv.Open(b.Context(), "redis://"+startServer(b, redisServer()).addr, rediskv.Options{Namespace: "bench"})
		},
		"memcached": func(b *testing.B) (kv.Store, error) {
			return memcachekv.Open(b.Context(), "memcached://"+startServer(b, memcachedServer()).addr, memcachekv.Options{Namespace: "bench"})
		},
	}
}

func storeEntry(i int, version uint64) kv.Entry {
	return kv.Entry{
		Key: []byte(key36(i)), Value: []byte(value36),
		Version: kv.Version{Time: version, Node: 7}, ContentType: "text/plain; charset=utf-8",
	}
}

// BenchmarkStores does the same to each store: a hundred thousand records in
// batches of a thousand, then random ones read and overwritten, by one caller
// and by a hundred.
func BenchmarkStores(b *testing.B) {
	for name, open := range openStores() {
		b.Run(name, func(b *testing.B) {
			store, err := open(b)
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			for b.Loop() {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(perRecord(fillStore(b, store), few), "ns/batched")
				for _, callers := range []int{1, 100} {
					b.ReportMetric(callStore(b, store, callers, getOne), fmt.Sprintf("ns/get-c%d", callers))
					b.ReportMetric(callStore(b, store, callers, putOne), fmt.Sprintf("ns/put-c%d", callers))
				}
			}
		})
	}
}

func perRecord(took time.Duration, count int) float64 {
	return float64(took.Nanoseconds()) / float64(count)
}

func fillStore(b *testing.B, store kv.Store) time.Duration {
	b.Helper()
	const size = 1000
	batch, done := make([]kv.Entry, size), make([]kv.Applied, size)
	var took time.Duration
	for first := 0; first < few; first += size {
		for i := range batch {
			batch[i] = storeEntry(first+i, 1)
		}
		began := time.Now()
		if err := store.Apply(b.Context(), batch, done); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	return took
}

func getOne(store kv.Store, i int, _ uint64, dst []byte) error {
	_, err := store.Get(context.Background(), []byte(key36(i)), dst)
	return err
}

func putOne(store kv.Store, i int, version uint64, _ []byte) error {
	return store.Apply(context.Background(), []kv.Entry{storeEntry(i, version)}, nil)
}

// callStore calls op of random records for a second, and returns how many
// nanoseconds a call took, over all callers.
func callStore(
	b *testing.B, store kv.Store, callers int, op func(store kv.Store, i int, version uint64, dst []byte) error,
) float64 {
	b.Helper()
	var calls, version atomic.Int64
	version.Store(time.Now().UnixNano())
	began := time.Now()
	var working sync.WaitGroup
	for c := range callers {
		working.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(c), 2))
			dst := make([]byte, 0, 64)
			for time.Since(began) < time.Second {
				if err := op(store, rnd.IntN(few), uint64(version.Add(1)), dst); err != nil {
					b.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	working.Wait()
	return float64(time.Since(began).Nanoseconds()) / float64(calls.Load())
}

// BenchmarkBytesARecord holds a million records in memory, in each way, and
// prints what each takes, and how long a forced garbage collection does.
func BenchmarkBytesARecord(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(0, "ns/op")
		ours, gc := heapOf(b, func() any {
			m, err := kv.NewMemory(kv.MemoryOptions{})
			if err != nil {
				b.Fatal(err)
			}
			for i := range million {
				if err := m.Apply(b.Context(), []kv.Entry{storeEntry(i, 1)}, nil); err != nil {
					b.Fatal(err)
				}
			}
			return m
		})
		plain, mapGC := heapOf(b, func() any {
			m := map[string]string{}
			for i := range million {
				m[key36(i)] = string([]byte(value36))
			}
			return m
		})
		redis := grown(startServer(b, redisServer()), func(s *server) { s.pipeIntoRedis(b, million) })
		memcached := grown(startServer(b, memcachedServer()), func(s *server) { s.pipeIntoMemcached(b, million) })
		b.ReportMetric(ours/million, "B/record")
		b.ReportMetric(plain/million, "B/map-record")
		b.ReportMetric(redis/million, "B/redis-record")
		b.ReportMetric(memcached/million, "B/memcached-record")
		b.ReportMetric(ours/redis, "of-redis")
		b.ReportMetric(gc, "ms-gc")
		b.ReportMetric(mapGC, "ms-map-gc")
	}
}

// heapOf returns the bytes of memory that what make makes takes of this process,
// and how many milliseconds a forced garbage collection then lasts, in the
// median of five.
func heapOf(b *testing.B, make func() any) (size, gc float64) {
	b.Helper()
	before := settledMemory()
	made := make()
	after := settledMemory()
	var took []float64
	for range 5 {
		began := time.Now()
		runtime.GC()
		took = append(took, time.Since(began).Seconds()*1e3)
	}
	runtime.KeepAlive(made)
	if closer, ok := made.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	return after - before, took[len(took)/2]
}

// settledMemory returns the resident memory of this process, in bytes, without
// what is garbage.
func settledMemory() float64 {
	debug.FreeOSMemory()
	return float64(residentMemory(os.Getpid()))
}

// grown returns by how many bytes a server's resident memory grows.
func grown(s *server, fill func(*server)) float64 {
	before := residentMemory(s.pid)
	fill(s)
	return float64(residentMemory(s.pid) - before)
}

// pipeIntoMemcached sets so many records.
func (s *server) pipeIntoMemcached(b *testing.B, count int) {
	b.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	w := bufio.NewWriterSize(c, 1<<20)
	for i := range count {
		fmt.Fprintf(w, "set %s 0 0 %d noreply\r\n%s\r\n", key36(i), len(value36), value36)
	}
	fmt.Fprintf(w, "version\r\n")
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 64)); err != nil { // all before it is done
		b.Fatal(err)
	}
}
