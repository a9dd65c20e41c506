package pebblekv

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// Options configures a [Store]. The zero value is ready to use.
type Options struct {
	// Partitions is how many partitions the keys are kept apart in; 0 means
	// [kv.DefaultPartitions]. It must be the ring's number. The directory
	// keeps it: Open refuses another one later.
	Partitions int
	// NoSync lets Apply return without waiting for the disk. What it has
	// acknowledged then survives a crash of neither the process nor its
	// machine, but what is lost is the newest only, and whole calls or parts of
	// calls that were large.
	NoSync bool
	// CacheBytes is how much memory recently read parts of tables may take; 0
	// means 64 MiB. Beside it the store takes up to about 64 MiB for what is
	// not yet in tables, and their filters.
	CacheBytes int64
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
	// Logger tells what the store does by itself; nil means nobody wants to
	// know.
	Logger hclog.Logger
}

const (
	defaultCache = 64 << 20
	// maxMemTable is how much is gathered in memory before it becomes a table.
	// The log of it is replayed by Open after a crash.
	maxMemTable = 8 << 20
	minMemTable = 256 << 10
	// stripeCount is how many locks the keys share. A writer holds its own
	// until the disk has answered, so they are many more than writers.
	stripeCount = 1 << 15
)

// config is what all engines of one store have in common.
type config struct {
	dir        string // of the store
	fs         vfs.FS
	partitions int
	noSync     bool
	cache      int64
	memTable   int64
	stripes    int // a power of two
	pace       pace
	log        hclog.Logger
}

// pace is how long a store waits for what.
type pace struct {
	firstRetry, lastRetry time.Duration // between two tries to open it anew
	roomCheck             time.Duration // between two looks for room where there is none
	shortPause            time.Duration // of a compaction that had no room
	readPatience          time.Duration // of a read for a store that is being opened anew
}

var usualPace = pace{
	firstRetry: 10 * time.Millisecond, lastRetry: 2 * time.Second, roomCheck: 100 * time.Millisecond,
	shortPause: 100 * time.Millisecond, readPatience: 2 * time.Second,
}

// config fills in what the options leave out.
func (o Options) config(dir string) (config, error) {
	c := config{
		dir: dir, fs: o.FS, partitions: o.Partitions, noSync: o.NoSync, cache: o.CacheBytes,
		memTable: maxMemTable, stripes: stripeCount, pace: usualPace, log: o.Logger,
	}
	if dir == "" {
		return c, fmt.Errorf("disk store: no directory is given")
	}
	if c.partitions < 0 || int64(c.partitions) > 1<<31 || c.cache < 0 {
		return c, fmt.Errorf("disk store %s: option out of range: partitions %d, cache bytes %d",
			dir, c.partitions, c.cache)
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	if c.fs == vfs.Default {
		// The lock knows directories by name.
		abs, err := filepath.Abs(dir)
		if err != nil {
			return c, fmt.Errorf("disk store: %w", err)
		}
		c.dir = abs
	}
	if c.partitions == 0 {
		c.partitions = kv.DefaultPartitions
	}
	if c.cache == 0 {
		c.cache = defaultCache
	}
	if c.log == nil {
		c.log = hclog.NewNullLogger()
	}
	return c, nil
}

// path returns that of a file of the store.
func (c *config) path(name string) string { return c.fs.PathJoin(c.dir, name) }

// pebble returns the options of a database on a file system. What is on a
// small disk is cut into smaller pieces, so that the work on one of them fits
// into what the store keeps free, see room.
func (c *config) pebble(disk *guard, total int64, readOnly bool) *pebble.Options {
	memTable := min(c.memTable, max(minMemTable, total/64))
	opts := &pebble.Options{
		FS:                          disk,
		Merger:                      countsMerger(),
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   c.cache,
		ReadOnly:                    readOnly,
		MemTableSize:                uint64(memTable),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		// Pebble is not to stop writes, for a full disk would make that last.
		// Apply reads before it writes, so it becomes slower by itself where
		// compactions do not keep up.
		L0StopWritesThreshold:      1000,
		LBaseMaxBytes:              4 * memTable,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     pebbleLog{disk: disk, log: c.log},
		EventListener:              disk.listener(c.log),
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.TargetFileSizes[i] = memTable / 4
	}
	return opts
}
