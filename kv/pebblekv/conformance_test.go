package pebblekv

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

// small returns a config that makes stores cheap to open.
func small(dir string, fs vfs.FS) config {
	cfg, err := Options{FS: fs, CacheBytes: 1 << 20}.config(dir)
	if err != nil {
		panic(err)
	}
	cfg.memTable, cfg.stripes = 256<<10, 1<<8
	cfg.pace = pace{time.Millisecond, 4 * time.Millisecond, time.Millisecond, time.Millisecond, 50 * time.Millisecond}
	return cfg
}

func mustOpen(t testing.TB, cfg config) *Store {
	t.Helper()
	s, err := open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fewPartitions is how many partitions stores have that need not have as many
// as usual: the suite looks at each of them again and again.
const fewPartitions = 61

// conformance is how the suite is to use stores with such a config, which have
// so many partitions.
func conformance(partitions int, config func(t *testing.T) config) (kvtest.Config, kvtest.Open) {
	return kvtest.Config{
			Slow: true, Partitions: partitions,
			Reopen: func(t *testing.T, store kv.Store) kv.Store {
				cfg := store.(*Store).cfg
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				return mustOpen(t, cfg)
			},
		}, func(t *testing.T) kv.Store {
			cfg := config(t)
			cfg.partitions = partitions
			return mustOpen(t, cfg)
		}
}

func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	suite, open := conformance(fewPartitions, func(*testing.T) config {
		return small("/store", vfs.NewMem())
	})
	if !raceEnabled { // it takes a minute there
		suite.OpenFull = func(t *testing.T) kv.Store {
			cfg := small("/store", &limitedFS{MemFS: vfs.NewMem(), total: 8 << 20})
			cfg.partitions = fewPartitions
			return mustOpen(t, cfg)
		}
	}
	suite.Run(t, open)
}

func TestConformanceOnDisk(t *testing.T) {
	t.Parallel()
	partitions := kv.DefaultPartitions
	if raceEnabled {
		partitions = fewPartitions
	}
	suite, open := conformance(partitions, func(t *testing.T) config {
		cfg := small(t.TempDir(), vfs.Default)
		cfg.noSync = true
		return cfg
	})
	suite.Run(t, open)
}

// limitedFS is a file system in memory with so much room. What is given back is
// taken by others at once.
type limitedFS struct {
	*vfs.MemFS
	total int64
	most  atomic.Int64 // that was used
}

func (f *limitedFS) GetDiskUsage(dir string) (vfs.DiskUsage, error) {
	used := int64(0)
	for _, sub := range []string{dir, f.PathJoin(dir, databaseName)} {
		names, _ := f.List(sub) // of what is not there, nothing is used
		for _, name := range names {
			if info, err := f.Stat(f.PathJoin(sub, name)); err == nil {
				used += info.Size()
			}
		}
	}
	for most := f.most.Load(); used > most && !f.most.CompareAndSwap(most, used); {
		most = f.most.Load()
	}
	used = f.most.Load()
	free := uint64(max(0, f.total-used))
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: uint64(f.total), UsedBytes: uint64(used)}, nil
}
