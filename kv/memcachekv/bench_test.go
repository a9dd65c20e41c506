package memcachekv

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/thunderdb/thunderdb/kv"
)

// benchRecords is how many records the benchmarks hold, each of a 36-byte key
// and a 36-byte value.
const benchRecords = 200_000

const benchBatch = 1000

func benchKeys(n int) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, n)
	for i := range keys {
		hi, lo := rnd.Uint64(), rnd.Uint64()
		keys[i] = fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&0xffff_ffff_ffff)
	}
	return keys
}

func benchEntry(key string, n int) kv.Entry {
	return kv.Entry{Key: []byte(key), Value: []byte(key), Version: at(n), ContentType: "text/plain; charset=utf-8"}
}

// stats returns the numbers that a server answers to a stats command.
func stats(b *testing.B, addr, command string) map[string]int64 {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", command)
	found := map[string]int64{}
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "END"; {
		if f := strings.Fields(lines.Text()); len(f) == 3 {
			found[f[1]], _ = strconv.ParseInt(f[2], 10, 64)
		}
	}
	return found
}

// filled returns a store that holds keys, in a server of its own.
func filled(b *testing.B, keys []string) (*Store, *memcached) {
	b.Helper()
	mc := startMemcached(b, "-m", "1024")
	st := open(b, Options{}, mc.addr)
	for i := 0; i < len(keys); i += benchBatch {
		put(b, st, benchEntries(keys[i:i+benchBatch], 1)...)
	}
	return st, mc
}

func benchEntries(keys []string, n int) []kv.Entry {
	entries := make([]kv.Entry, len(keys))
	for i, key := range keys {
		entries[i] = benchEntry(key, n)
	}
	return entries
}

// BenchmarkMemory compares what a record takes with what it takes when it is
// set without any of what a store needs.
func BenchmarkMemory(b *testing.B) {
	keys := benchKeys(benchRecords)
	for b.Loop() {
		_, mc := filled(b, keys)
		plain := startMemcached(b, "-m", "1024")
		client := memcache.New(plain.addr)
		for _, key := range keys {
			if err := client.Set(&memcache.Item{Key: key, Value: []byte(key)}); err != nil {
				b.Fatal(err)
			}
		}
		client.Close()
		for name, command := range map[string]string{"bytes": "stats", "total_malloced": "stats slabs"} {
			ours, set := stats(b, mc.addr, command)[name], stats(b, plain.addr, command)[name]
			b.ReportMetric(float64(ours)/benchRecords, name+"/record")
			b.ReportMetric(float64(set)/benchRecords, name+"/plain")
			b.ReportMetric(float64(ours)/float64(set), name+"-ratio")
		}
	}
}

// BenchmarkStore does single calls, one after the other and from many
// goroutines, and batches; and single calls of a plain client.
func BenchmarkStore(b *testing.B) {
	keys := benchKeys(benchRecords)
	st, mc := filled(b, keys)
	client := memcache.New(mc.addr)
	client.MaxIdleConns = maxSessions
	b.Cleanup(func() { client.Close() })
	ctx := context.Background()
	get := func(key string) error {
		_, err := st.Get(ctx, []byte(key), nil)
		return err
	}
	apply := func(key string) error { return st.Apply(ctx, []kv.Entry{benchEntry(key, rand.Int())}, nil) }
	set := func(key string) error { return client.Set(&memcache.Item{Key: key, Value: []byte(key)}) }
	plainGet := func(key string) error {
		_, err := client.Get(key)
		return err
	}
	for _, key := range keys {
		if err := set(key); err != nil {
			b.Fatal(err)
		}
	}
	for _, op := range []struct {
		name string
		call func(string) error
	}{{"get", get}, {"plain-get", plainGet}, {"put", apply}, {"plain-set", set}} {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := op.call(keys[rand.IntN(len(keys))]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(op.name+"-parallel", func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := op.call(keys[rand.IntN(len(keys))]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("apply-batch", func(b *testing.B) {
		b.ReportAllocs()
		n := 1
		for b.Loop() {
			n++
			at := rand.IntN(len(keys) - benchBatch)
			put(b, st, benchEntries(keys[at:at+benchBatch], 1<<62+n)...)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/record")
	})
	b.Run("get-batch", func(b *testing.B) {
		b.ReportAllocs()
		found, errs := make([]kv.Entry, benchBatch), make([]error, benchBatch)
		some := make([][]byte, benchBatch)
		for b.Loop() {
			at := rand.IntN(len(keys) - benchBatch)
			for i := range some {
				some[i] = []byte(keys[at+i])
			}
			st.GetBatch(ctx, some, found, errs)
			for _, err := range errs {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/record")
	})
}

// BenchmarkOpen opens and closes a store of a new namespace.
func BenchmarkOpen(b *testing.B) {
	addrs := sharedServers(b, 1)
	for b.Loop() {
		st, err := Open(context.Background(), urlOf(addrs...), Options{Namespace: unique()})
		if err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
