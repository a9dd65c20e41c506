package pebblekv

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

const benchType = "text/plain; charset=utf-8"

// benchKey returns the nth of keys that look like UUIDs.
func benchKey(n uint64) []byte {
	rnd := rand.New(rand.NewPCG(1, n))
	hi, lo := rnd.Uint64(), rnd.Uint64()
	return fmt.Appendf(nil, "%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&0xffff_ffff_ffff)
}

func benchEntry(n uint64, size int) kv.Entry {
	value := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(value[i:], rand.Uint64()) // it does not compress
	}
	return kv.Entry{Key: benchKey(n), Value: value, Version: kv.Version{Time: n + 1, Node: 7}, ContentType: benchType}
}

// bare is a Pebble with the options of the store, and nothing else.
type bare struct{ db *pebble.DB }

func openBare(b *testing.B, fs vfs.FS) *bare {
	b.Helper()
	cfg, err := Options{FS: fs}.config(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	g := newGuard(cfg.fs, func() {}, 0)
	opts := cfg.pebble(g, 1<<60, false)
	opts.FS, opts.Merger = fs, nil
	db, err := pebble.Open(cfg.dir, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &bare{db}
}

func (p *bare) put(entries []kv.Entry, how *pebble.WriteOptions) error {
	batch := p.db.NewBatch()
	defer batch.Close()
	for i := range entries {
		key := appendEntryKey(nil, kv.Partition(entries[i].Key, kv.DefaultPartitions), entries[i].Key)
		if err := batch.Set(key, kv.AppendEntry(nil, &entries[i]), nil); err != nil {
			return err
		}
	}
	return p.db.Apply(batch, how)
}

// steadyFS is a file system in memory whose files take some time to sync, as a
// disk does that nobody else uses.
type steadyFS struct{ vfs.FS }

const steadySync = 200 * time.Microsecond

func (f steadyFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return steadyFile{file}, err
}

func (f steadyFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, category)
	return steadyFile{file}, err
}

type steadyFile struct{ vfs.File }

func (f steadyFile) Sync() error     { time.Sleep(steadySync); return nil }
func (f steadyFile) SyncData() error { time.Sleep(steadySync); return nil }

// rate is how much was written in which time.
type rate struct {
	entries int64
	took    time.Duration
	cpu     time.Duration // of the whole process
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r rate) perEntry() float64 { return float64(r.took.Nanoseconds()) / float64(r.entries) }

// turn lets many write batches of new keys for a while.
func (r *rate) turn(b *testing.B, count int, next func() []kv.Entry, put func([]kv.Entry) error) {
	b.Helper()
	var group sync.WaitGroup
	var done atomic.Int64
	start, cpu := time.Now(), cpuTime()
	for range count {
		group.Go(func() {
			for time.Since(start) < turnTime {
				batch := next()
				if err := put(batch); err != nil {
					b.Error(err)
					return
				}
				done.Add(int64(len(batch)))
			}
		})
	}
	group.Wait()
	r.entries += done.Load()
	r.took += time.Since(start)
	r.cpu += cpuTime() - cpu
}

const turnTime = 50 * time.Millisecond

// BenchmarkRatio writes new keys into the store and into a bare Pebble, in
// turns, so that whatever else the machine does meets both alike. The ratio is
// Pebble's time by the store's: 1 is as fast.
func BenchmarkRatio(b *testing.B) {
	for _, c := range []struct {
		name                 string
		writers, batch, size int
		noSync, steady       bool
	}{
		{"steady/writers=100/value=36", 100, 1, 36, false, true},
		{"steady/writers=100/value=4096", 100, 1, 4096, false, true},
		{"writers=100/value=36", 100, 1, 36, false, false},
		{"writers=100/value=4096", 100, 1, 4096, false, false},
		{"writers=1/value=36", 1, 1, 36, false, false},
		{"writers=1/batch=1000/value=36", 1, 1000, 36, false, false},
		{"writers=1/value=36/nosync", 1, 1, 36, true, false},
		{"writers=1/batch=1000/value=36/nosync", 1, 1000, 36, true, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			ours, theirs := vfs.Default, vfs.Default
			if c.steady {
				ours, theirs = steadyFS{vfs.NewMem()}, steadyFS{vfs.NewMem()}
			}
			store, err := Open(b.TempDir(), Options{NoSync: c.noSync, FS: ours})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			p := openBare(b, theirs)
			how := pebble.Sync
			if c.noSync {
				how = pebble.NoSync
			}
			var keys atomic.Uint64
			next := func() []kv.Entry {
				batch := make([]kv.Entry, c.batch)
				for i := range batch {
					batch[i] = benchEntry(keys.Add(1), c.size)
				}
				return batch
			}
			var our, their rate
			for b.Loop() {
				our.turn(b, c.writers, next, func(batch []kv.Entry) error {
					return store.Apply(context.Background(), batch, nil)
				})
				their.turn(b, c.writers, next, func(batch []kv.Entry) error {
					return p.put(batch, how)
				})
			}
			b.ReportMetric(our.perEntry(), "store-ns/entry")
			b.ReportMetric(their.perEntry(), "pebble-ns/entry")
			b.ReportMetric(their.perEntry()/our.perEntry(), "ratio")
			b.ReportMetric(float64(our.cpu.Nanoseconds())/float64(our.entries), "store-cpu-ns")
			b.ReportMetric(float64(their.cpu.Nanoseconds())/float64(their.entries), "pebble-cpu-ns")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMillion loads a million records of 36-byte keys and values in
// batches of a thousand, and reports what that takes and how the store opens
// and reads afterwards. What a killed process leaves is a copy of the directory.
func BenchmarkMillion(b *testing.B) {
	const records = 1_000_000
	for b.Loop() {
		dir := b.TempDir()
		start := time.Now()
		s := loadMillion(b, dir, records)
		b.ReportMetric(time.Since(start).Seconds(), "load-s")
		b.ReportMetric(rss(b), "load-RSS-MB")
		killed := filepath.Join(b.TempDir(), "killed")
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(diskUsage(b, dir))/1e6, "disk-MB")
		for path, unit := range map[string]string{dir: "open-ms", killed: "open-killed-ms"} {
			start = time.Now()
			s, err := Open(path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/1000, unit)
			if got := s.Stats(0).Keys; got != records {
				b.Errorf("%d keys are there", got)
			}
			if path == dir {
				getRandom(b, s, records)
				b.ReportMetric(rss(b), "get-RSS-MB")
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func loadMillion(b *testing.B, dir string, records uint64) *Store {
	b.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]kv.Entry, 0, 1000)
	for n := range records {
		e := benchEntry(n, 0)
		e.Value = e.Key
		if batch = append(batch, e); len(batch) == cap(batch) {
			if err := s.Apply(context.Background(), batch, nil); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	return s
}

func getRandom(b *testing.B, s *Store, records uint64) {
	b.Helper()
	const gets = 200_000
	keys := make([][]byte, gets)
	for i := range keys {
		keys[i] = benchKey(rand.Uint64N(records))
	}
	dst := make([]byte, 0, 64)
	for range 2 { // the first time to fill the cache
		start := time.Now()
		for _, key := range keys {
			if _, err := s.Get(context.Background(), key, dst); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/gets, "get-ns")
	}
}

func diskUsage(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// rss returns the resident memory of the process in MB.
func rss(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident*int64(os.Getpagesize())) / 1e6
}
