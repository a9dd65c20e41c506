package pebblekv

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/dustin/go-humanize"

	"github.com/thunderdb/thunderdb/kv"
)

// How the store keeps from filling the disk:
//
//  1. A part of the file system, the reserve, is kept free of values: while no
//     more is free, or a compaction had no room, a value gets ErrFull. What is
//     in the reserve serves what goes on: writing the log into tables,
//     compactions, deletions, metadata.
//  2. Deletions take the reserve too, so they end at the last quarter of it,
//     compactions at the last eighth, and purges, which make room, at the last
//     sixteenth.
//  3. The free space is asked for again after a quarter of what was above the
//     reserve was written, and after a second, for others fill the disk too.
//  4. What takes the last byte all the same breaks the guard, see guard.go; the
//     store is then opened for reading only until there is room, see mend.go.
const (
	maxReserve   = 512 << 20
	reserveShare = 5 // one of so many parts of the file system
	pollAge      = time.Second
	shortAge     = 2 * time.Second
	// written is how much an entry is written before its first compaction: into
	// the log and into a table.
	written = 2
)

// purpose is what is to be written. Its value is the part of the reserve, one of
// so many, that must be left free by it.
type purpose int64

const (
	forValue    purpose = 1
	forDeletion purpose = 4
	forUpkeep   purpose = 8
	forPurge    purpose = 16
)

func purposeOf(e *kv.Entry) purpose {
	if e.Deleted {
		return forDeletion
	}
	return forValue
}

// room is what is free on the store's file system. It is safe for concurrent
// use.
type room struct {
	fs  vfs.FS
	dir string

	credit atomic.Int64 // what may be written before the next question
	asked  atomic.Int64 // when it was, in Unix nanoseconds
	short  atomic.Int64 // until when a compaction's failure is remembered, too

	wanted chan struct{} // receives after a refusal

	mu    sync.Mutex // guards what was answered last
	usage vfs.DiskUsage
	known bool
}

func newRoom(fs vfs.FS, dir string) *room {
	r := &room{fs: fs, dir: dir, wanted: make(chan struct{}, 1)}
	r.ask()
	return r
}

// ask asks the file system. Where it has no answer, there is room.
func (r *room) ask() (usage vfs.DiskUsage, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	usage, err := r.fs.GetDiskUsage(r.dir)
	r.usage, r.known = usage, err == nil && usage.TotalBytes > 0
	r.asked.Store(time.Now().UnixNano())
	spare := int64(1) << 30
	if r.known {
		spare = int64(usage.AvailBytes) - reserve(usage)
	}
	r.credit.Store(max(0, spare/4))
	return r.usage, r.known
}

// reserve returns how many bytes are kept free of values.
func reserve(usage vfs.DiskUsage) int64 {
	return int64(min(usage.TotalBytes/reserveShare, maxReserve))
}

// total returns how large the file system is; a very large number where that is
// not known.
func (r *room) total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		return 1 << 60
	}
	return int64(r.usage.TotalBytes)
}

// noteShort notes that a compaction had no room.
func (r *room) noteShort() { r.short.Store(time.Now().Add(shortAge).UnixNano()) }

// admit returns ErrFull where there is no room to write about so many bytes.
func (r *room) admit(what purpose, size int64) error {
	now := time.Now().UnixNano()
	short := now < r.short.Load()
	if r.credit.Add(-written*size) >= 0 && now-r.asked.Load() < int64(pollAge) && !short {
		return nil
	}
	usage, known := r.ask()
	if !known {
		return nil
	}
	kept := reserve(usage) / int64(what)
	if int64(usage.AvailBytes)-written*size >= kept && (what != forValue || !short) {
		return nil
	}
	select {
	case r.wanted <- struct{}{}:
	default:
	}
	return fmt.Errorf("%w: %s", kv.ErrFull, r.describe())
}

// spares reports whether a compaction may write so many bytes.
func (r *room) spares(size int) bool {
	usage, err := r.fs.GetDiskUsage(r.dir) // not ask: values get no credit by it
	return err != nil || usage.TotalBytes == 0 ||
		int64(usage.AvailBytes)-int64(size) >= reserve(usage)/int64(forUpkeep)
}

// roomy reports whether so many bytes are free.
func (r *room) roomy(size int64) bool {
	usage, known := r.ask()
	return !known || int64(usage.AvailBytes) > size
}

// describe says how full the disk is.
func (r *room) describe() string {
	usage, _ := r.ask()
	return fmt.Sprintf("the file system of %s has %s of %s left, and %s are kept for deletions and upkeep",
		r.dir, humanize.IBytes(usage.AvailBytes), humanize.IBytes(usage.TotalBytes), humanize.IBytes(uint64(reserve(usage))))
}
