package rediskv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

// benchRecords is how many records the benchmarks hold, each of a 36-byte key
// and a 36-byte value.
const benchRecords = 200_000

const benchBatch = 1000

func benchKey(rnd *rand.Rand) []byte {
	return fmt.Appendf(nil, "%016x-%016x-aa", rnd.Uint64(), rnd.Uint64())[:36]
}

// benchKeys returns keys that are the same in every run.
func benchKeys() [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, benchRecords)
	for i := range keys {
		keys[i] = benchKey(rnd)
	}
	return keys
}

func benchEntry(key []byte, n int) kv.Entry {
	return kv.Entry{Key: key, Value: key, Version: kv.Version{Time: uint64(n), Node: 7}, ContentType: "text/plain; charset=utf-8"}
}

// fill puts all keys into the store.
func fill(b *testing.B, s *Store, keys [][]byte) {
	b.Helper()
	batch := make([]kv.Entry, 0, benchBatch)
	for i, key := range keys {
		if batch = append(batch, benchEntry(key, 1)); len(batch) == benchBatch || i == len(keys)-1 {
			if err := s.Apply(context.Background(), batch, nil); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

// benchPlaces is the store on a server alone and on a Cluster.
func benchPlaces(b *testing.B) map[string]string {
	return map[string]string{"server": commonServer(b).url(), "cluster": commonCluster(b)}
}

func BenchmarkOpen(b *testing.B) {
	for name, url := range benchPlaces(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := Open(context.Background(), url, Options{Namespace: newNamespace()})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// bench is a filled store and what calls need.
type bench struct {
	*Store
	keys  [][]byte
	rnd   *rand.Rand
	n     int // of the last version
	batch []kv.Entry
	done  []kv.Applied
}

func (f *bench) any() []byte { return f.keys[f.rnd.IntN(len(f.keys))] }

func (f *bench) entry(key []byte) kv.Entry {
	f.n++
	return benchEntry(key, f.n)
}

func (f *bench) apply(e kv.Entry) error {
	f.batch[0] = e
	return f.Apply(context.Background(), f.batch[:1], f.done[:1])
}

func (f *bench) fillBatch() {
	for i := range f.batch {
		f.batch[i] = f.entry(f.any())
	}
}

// plain is the name of what the plain commands use, of a key.
func (f *bench) plain() string { return "plain" + string(f.any()) }

// pipelined sends a thousand plain commands.
func (f *bench) pipelined(one func(redis.Pipeliner)) error {
	_, err := f.client.Pipelined(context.Background(), func(pipe redis.Pipeliner) error {
		for range benchBatch {
			one(pipe)
		}
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (f *bench) plainSet() error {
	return f.client.Set(context.Background(), f.plain(), string(f.any()), 0).Err()
}

func (f *bench) plainSets() error {
	return f.pipelined(func(pipe redis.Pipeliner) { pipe.Set(context.Background(), f.plain(), string(f.any()), 0) })
}

// benchCalls is what is measured: calls of the store, and plain commands that
// do the least of it. records is how many a call is for.
var benchCalls = []struct {
	name         string
	records      int
	store, plain func(f *bench) error
}{
	{"get", 1, func(f *bench) error {
		_, err := f.Get(context.Background(), f.any(), nil)
		return err
	}, func(f *bench) error {
		key := f.any()
		partition, _ := f.layout.place(key)
		return f.client.HGet(context.Background(), f.layout.hash(partition), string(key)).Err()
	}},
	{"put", 1, func(f *bench) error { return f.apply(f.entry(f.any())) }, (*bench).plainSet},
	{"put-new", 1, func(f *bench) error { return f.apply(f.entry(benchKey(f.rnd))) }, (*bench).plainSet},
	{"put-expiring", 1, func(f *bench) error {
		e := f.entry(f.any())
		e.Expires = 2_000_000_000_000 + int64(f.n)
		return f.apply(e)
	}, (*bench).plainSet},
	{"batch", benchBatch, func(f *bench) error {
		f.fillBatch()
		return f.Apply(context.Background(), f.batch, f.done)
	}, (*bench).plainSets},
	{"batch-by-one", benchBatch, func(f *bench) error { // a call of the script for each entry
		f.fillBatch()
		w := &writing{store: f.Store, entries: f.batch, data: encode(f.batch)}
		for i, e := range f.batch {
			partition, group := f.layout.place(e.Key)
			w.pieces = append(w.pieces, &piece{
				at: []int{i}, keys: append(f.layout.books(group), f.layout.hash(partition)),
				args: []any{"", 1, e.Key, w.data[i]}, script: f.scripts.apply,
			})
		}
		return w.send(context.Background())
	}, (*bench).plainSets},
	{"get-batch", benchBatch, func(f *bench) error {
		keys, found, errs := make([][]byte, benchBatch), make([]kv.Entry, benchBatch), make([]error, benchBatch)
		for i := range keys {
			keys[i] = f.any()
		}
		f.GetBatch(context.Background(), keys, found, errs)
		return errs[0]
	}, func(f *bench) error {
		return f.pipelined(func(pipe redis.Pipeliner) { pipe.Get(context.Background(), f.plain()) })
	}},
	{"stats", 1, func(f *bench) error {
		_, err := f.count(context.Background(), 1_000_000_000_000)
		return err
	}, func(f *bench) error { return f.client.Ping(context.Background()).Err() }},
}

// BenchmarkStore calls the store and the plain commands in turns, so that
// whatever else the machine does meets both alike. The ratio is the plain
// commands' time by the store's: above 1 the store is faster.
func BenchmarkStore(b *testing.B) {
	for name, url := range benchPlaces(b) {
		f := &bench{
			Store: open(b, url, Options{}), keys: benchKeys(), rnd: rand.New(rand.NewPCG(3, 4)), n: 1,
			batch: make([]kv.Entry, benchBatch), done: make([]kv.Applied, benchBatch),
		}
		fill(b, f.Store, f.keys)
		for _, call := range benchCalls {
			b.Run(name+"/"+call.name, func(b *testing.B) {
				turn := max(1, 100/call.records)
				var took [2]time.Duration
				for b.Loop() {
					for i, op := range []func(*bench) error{call.store, call.plain} {
						start := time.Now()
						for range turn {
							if err := op(f); err != nil {
								b.Fatal(err)
							}
						}
						took[i] += time.Since(start)
					}
				}
				for i, unit := range []string{"store-ns/record", "plain-ns/record"} {
					b.ReportMetric(float64(took[i].Nanoseconds())/float64(b.N*turn*call.records), unit)
				}
				b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
			})
		}
	}
}

// BenchmarkParallel puts and gets from many at once.
func BenchmarkParallel(b *testing.B) {
	s, keys := open(b, commonServer(b).url(), Options{}), benchKeys()
	fill(b, s, keys)
	run := func(name string, call func(key []byte, n int) error) {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(50)
			b.RunParallel(func(pb *testing.PB) {
				for n := 2; pb.Next(); n++ {
					if err := call(keys[rand.IntN(len(keys))], n); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	run("get", func(key []byte, _ int) error {
		_, err := s.Get(context.Background(), key, nil)
		return err
	})
	run("put", func(key []byte, n int) error {
		return s.Apply(context.Background(), []kv.Entry{benchEntry(key, n)}, nil)
	})
	run("plain-get", func(key []byte, _ int) error {
		partition, _ := s.layout.place(key)
		return s.client.HGet(context.Background(), s.layout.hash(partition), string(key)).Err()
	})
	run("plain-set", func(key []byte, _ int) error {
		return s.client.Set(context.Background(), string(key), key, 0).Err()
	})
}

// BenchmarkMemory reports what Redis takes for a record of 36 and 36 bytes, in
// the store and as a plain SET, and one by the other.
func BenchmarkMemory(b *testing.B) {
	server := newServer(b)
	client := server.client()
	defer client.Close()
	ctx := context.Background()
	used := func() float64 {
		info, err := client.Info(ctx, "memory").Result()
		if err != nil {
			b.Fatal(err)
		}
		_, after, _ := strings.Cut(info, "used_memory:")
		var n float64
		fmt.Sscan(after, &n)
		return n
	}
	keys := benchKeys()
	for b.Loop() {
		s := open(b, server.url(), Options{})
		start := used()
		fill(b, s, keys)
		filled := used()
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				pipe.Set(ctx, string(key), key, 0)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		store, plain := (filled-start)/benchRecords, (used()-filled)/benchRecords
		b.ReportMetric(store, "B/record")
		b.ReportMetric(plain, "plain-B/record")
		b.ReportMetric(store/plain, "ratio")
		b.ReportMetric(float64(s.Stats(0).Resident)/benchRecords, "resident/record")
		server.command(b, "FLUSHALL")
	}
}
