package pebblekv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// What happens when the disk fails. Pebble ends the process, panics or waits
// for ever where its log or its list of tables cannot be written. So it never
// learns of it:
//
//  1. An engine is one opening of the database, and writes through a guard. The
//     first change to the disk that fails breaks the guard, before Pebble goes
//     on. From then on nothing of that engine reaches the disk any more: each
//     change is dropped and said to be done. So the disk stays as it was at the
//     failure, whatever Pebble does next, and Pebble can be closed in peace,
//     without a goroutine left behind.
//  2. Whoever has used an engine looks at its guard afterwards, and passes on
//     nothing where it is broken: no acknowledgement, no value, no "not found".
//     What broke the guard happened before anything was pretended, so what was
//     got from an engine whose guard is whole is true.
//  3. The store then opens the database anew, with a guard of its own, and what
//     counts is what is on the disk: see mend.go. Opening writes what it found
//     in the log into tables and syncs them, so that also what a failed sync
//     left in the kernel's cache is either on the disk or not shown.
//  4. A table that a compaction has no room for is no fault, for Pebble drops
//     it and goes on with the old ones: it gets that error, after a pause, for
//     it tries again at once. The store takes no more values for a while. It gets
//     it before the disk is full, so that the log has room meanwhile.
//  5. A file that cannot be removed is none either, nor one that cannot be
//     read: Pebble returns those errors to whoever reads.
//
// Pebble's Fatalf is called for the failures above, which cannot happen with a
// guard, and for states that it thinks impossible. It breaks the guard and
// returns, as in Pebble's own tests: whatever Pebble then does to itself, it
// can harm neither the disk nor an answer.

// fault is a change to the disk that failed.
type fault struct {
	op, path string
	err      error
	sync     bool // it is unknown what of the earlier writes is on the disk
}

func (f *fault) Error() string { return fmt.Sprintf("%s %s: %v", f.op, f.path, f.err) }
func (f *fault) Unwrap() error { return f.err }

// noRoom reports whether an error says that the disk is full.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, kv.ErrFull)
}

// errBroken is what Pebble gets that would read through a broken guard.
var errBroken = errors.New("the disk failed, and this opening of the store is at its end")

// guard implements [vfs.FS] by the one that it embeds, as the rules above say.
type guard struct {
	vfs.FS
	short func()         // called when a compaction had no room
	spare func(int) bool // whether a compaction may write so many bytes; nil: it may
	pause time.Duration  // of that compaction
	ended chan struct{}  // closed when the guard breaks

	writing sync.RWMutex // held for reading while something is changed
	broken  atomic.Pointer[fault]
}

func newGuard(fs vfs.FS, short func(), pause time.Duration) *guard {
	return &guard{FS: fs, short: short, pause: pause, ended: make(chan struct{})}
}

// fault returns what broke the guard, or nil.
func (g *guard) fault() *fault { return g.broken.Load() }

// fail breaks the guard, unless it is broken already.
func (g *guard) fail(f *fault) {
	if g.broken.CompareAndSwap(nil, f) {
		close(g.ended)
	}
}

// settle waits until no change is under way in a broken guard.
func (g *guard) settle() {
	g.writing.Lock()
	defer g.writing.Unlock()
}

// compaction is what Pebble's compactions write.
const compaction vfs.DiskWriteCategory = "pebble-compaction"

// change makes a change to the disk and reports whether it was made. If it
// was not, it must be pretended. The error is one that Pebble may know of.
func (g *guard) change(op, path string, category vfs.DiskWriteCategory, do func() error) (made bool, err error) {
	g.writing.RLock()
	if g.broken.Load() != nil {
		g.writing.RUnlock()
		return false, nil
	}
	err = do()
	g.writing.RUnlock()
	switch {
	case err == nil:
		return true, nil
	case noRoom(err) && category == compaction:
		g.short()
		select {
		case <-g.ended:
			return false, nil
		case <-time.After(g.pause):
			return true, err
		}
	}
	g.fail(&fault{op: op, path: path, err: err, sync: op == "sync" || op == "close"})
	return false, nil
}

// changeDir makes a change to a directory.
func (g *guard) changeDir(op, path string, do func() error) error {
	_, err := g.change(op, path, "", do)
	return err
}

// opened wraps the file that open opens for writing.
func (g *guard) opened(op, path string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	made, err := g.change(op, path, category, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if !made {
		f = &sink{name: g.PathBase(path)}
	}
	return &guardedFile{File: f, guard: g, path: path, category: category}, nil
}

func (g *guard) Create(path string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.opened("create", path, category, func() (vfs.File, error) { return g.FS.Create(path, category) })
}

func (g *guard) OpenReadWrite(path string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.opened("open", path, category, func() (vfs.File, error) {
		return g.FS.OpenReadWrite(path, category, opts...)
	})
}

func (g *guard) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.opened("reuse", to, category, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, category) })
}

func (g *guard) Link(from, to string) error {
	return g.changeDir("link", to, func() error { return g.FS.Link(from, to) })
}

func (g *guard) Rename(from, to string) error {
	return g.changeDir("rename", to, func() error { return g.FS.Rename(from, to) })
}

func (g *guard) MkdirAll(path string, perm os.FileMode) error {
	return g.changeDir("create", path, func() error { return g.FS.MkdirAll(path, perm) })
}

func (g *guard) Remove(path string) error    { return g.remove(path, g.FS.Remove) }
func (g *guard) RemoveAll(path string) error { return g.remove(path, g.FS.RemoveAll) }

func (g *guard) remove(path string, remove func(string) error) (err error) {
	g.writing.RLock()
	defer g.writing.RUnlock()
	if g.broken.Load() == nil {
		err = remove(path)
	}
	return err
}

func (g *guard) Open(path string, opts ...vfs.OpenOption) (vfs.File, error) {
	if g.broken.Load() != nil {
		return nil, errBroken
	}
	return g.FS.Open(path, opts...)
}

func (g *guard) OpenDir(path string) (vfs.File, error) {
	if g.broken.Load() != nil {
		return &sink{name: g.PathBase(path)}, nil
	}
	f, err := g.FS.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &guardedFile{File: f, guard: g, path: path}, nil
}

// Lock does nothing: the store has locked its directory itself, for longer
// than an engine lives.
func (g *guard) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardedFile is a file that is open for writing, or a directory.
type guardedFile struct {
	vfs.File
	guard    *guard
	path     string
	category vfs.DiskWriteCategory
}

func (f *guardedFile) change(op string, do func() error) error {
	_, err := f.guard.change(op, f.path, f.category, do)
	return err
}

func (f *guardedFile) Write(p []byte) (int, error) {
	n := 0
	made, err := f.guard.change("write", f.path, f.category, func() (err error) {
		if spare := f.guard.spare; f.category == compaction && spare != nil && !spare(len(p)) {
			return syscall.ENOSPC
		}
		n, err = f.File.Write(p)
		return err
	})
	if !made {
		n = len(p)
	}
	return n, err
}

func (f *guardedFile) WriteAt(p []byte, offset int64) (int, error) {
	n := 0
	made, err := f.guard.change("write", f.path, f.category, func() (err error) {
		n, err = f.File.WriteAt(p, offset)
		return err
	})
	if !made {
		n = len(p)
	}
	return n, err
}

func (f *guardedFile) Sync() error     { return f.change("sync", f.File.Sync) }
func (f *guardedFile) SyncData() error { return f.change("sync", f.File.SyncData) }

func (f *guardedFile) SyncTo(length int64) (full bool, err error) {
	made, err := f.guard.change("sync", f.path, f.category, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full || !made, err
}

// Preallocate makes room ahead where there is some, and is no change.
func (f *guardedFile) Preallocate(offset, length int64) error {
	if f.guard.fault() == nil {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

// Close closes the file also where the guard is broken.
func (f *guardedFile) Close() error {
	err := f.File.Close()
	if err != nil {
		f.guard.fail(&fault{op: "close", path: f.path, err: err, sync: true})
	}
	return nil
}

// sink is a file that was not created.
type sink struct {
	name string
	size int64
}

func (s *sink) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sink) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (s *sink) Read([]byte) (int, error)               { return 0, errBroken }
func (s *sink) ReadAt([]byte, int64) (int, error)      { return 0, errBroken }
func (s *sink) Close() error                           { return nil }
func (s *sink) Sync() error                            { return nil }
func (s *sink) SyncData() error                        { return nil }
func (s *sink) SyncTo(int64) (bool, error)             { return true, nil }
func (s *sink) Prefetch(int64, int64) error            { return nil }
func (s *sink) Preallocate(int64, int64) error         { return nil }
func (s *sink) Fd() uintptr                            { return vfs.InvalidFd }
func (s *sink) Stat() (vfs.FileInfo, error)            { return sinkInfo{s}, nil }

// sinkInfo implements [vfs.FileInfo].
type sinkInfo struct{ s *sink }

func (i sinkInfo) Name() string           { return i.s.name }
func (i sinkInfo) Size() int64            { return i.s.size }
func (i sinkInfo) Mode() os.FileMode      { return 0o644 }
func (i sinkInfo) ModTime() time.Time     { return time.Time{} }
func (i sinkInfo) IsDir() bool            { return false }
func (i sinkInfo) Sys() any               { return nil }
func (i sinkInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
