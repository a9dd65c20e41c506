package pebblekv

import (
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// engine is one opening of the database, from then until the disk fails or the
// store is closed.
type engine struct {
	*config
	db       *pebble.DB
	disk     *guard
	room     *room
	readOnly bool // it was opened while the disk had no room
	ledger   ledger
	garbage  garbage
	users    users

	closing  sync.Once
	closeErr error

	seed    maphash.Seed
	stripes []sync.RWMutex // see lock

	metaMu sync.RWMutex // held while metadata is being saved
	sweep  sweeper
	groups groups
}

// openEngine opens the database, which may be new. Its error is a fault where
// the disk failed, and otherwise one of kv's.
func openEngine(cfg *config, room *room, readOnly bool) (e *engine, err error) {
	if readOnly {
		// What it shows was not written into synced tables, as it is otherwise.
		if err := syncLogs(cfg); err != nil {
			return nil, err
		}
	}
	e = &engine{
		config: cfg, room: room, readOnly: readOnly,
		disk: newGuard(cfg.fs, room.noteShort, cfg.pace.shortPause), seed: maphash.MakeSeed(), users: newUsers(),
		groups: newGroups(),
	}
	e.disk.spare = room.spares
	if err := e.openDB(); err != nil {
		return nil, err
	}
	if err = e.load(); err == nil {
		e.guessGarbage()
	}
	if f := e.disk.fault(); f != nil {
		err = f
	}
	if err != nil {
		_ = e.db.Close() // it was not used, and the error says why
		return nil, err
	}
	e.stripes = make([]sync.RWMutex, cfg.stripes)
	return e, nil
}

// openDB opens the database itself. Pebble panics on some of what it cannot
// have written.
func (e *engine) openDB() (err error) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("opening the database panicked", "panic", r, "stack", string(debug.Stack()))
			err = e.corrupt(fmt.Errorf("%v", r))
		}
		if f := e.disk.fault(); f != nil && err != nil {
			err = f
		}
	}()
	path := e.path(databaseName)
	e.db, err = pebble.Open(path, e.pebble(e.disk, e.room.total(), e.readOnly))
	if err != nil {
		return e.mapOpen(err)
	}
	return nil
}

// load reads what is kept in memory.
func (e *engine) load() error {
	data, closer, err := e.db.Get(countsKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return e.mapError("read counts", err)
	}
	defer closer.Close()
	e.ledger.sum, err = parseCounts(data)
	return err
}

// close waits until nobody uses the engine, and closes it. It may be called
// several times.
func (e *engine) close() error {
	e.closing.Do(func() {
		e.users.retire()
		e.closeErr = e.db.Close()
		if f := e.disk.fault(); f != nil {
			e.closeErr = f
		}
	})
	return e.closeErr
}

// trusted returns an error where the disk has failed, and what was got from the
// engine must not be passed on.
func (e *engine) trusted() error {
	if f := e.disk.fault(); f != nil {
		return unavailable(f)
	}
	return nil
}

// unavailable returns what calls return after a fault. It hides what the fault
// wraps, but that the disk is full.
func unavailable(err error) error {
	if noRoom(err) {
		return hiding(kv.ErrFull, err)
	}
	return hiding(kv.ErrUnavailable, err)
}

// hiding returns an error that is one of kv's and says why, but is not what
// caused it: a file that is not found is no key that is not found.
func hiding(err, cause error) error { return fmt.Errorf("%w: %s", err, cause.Error()) }

// mapError turns an error of Pebble's into one of kv's.
func (e *engine) mapError(op string, err error) error {
	if ferr := e.trusted(); ferr != nil {
		return ferr
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, kv.ErrCorrupt) {
		return e.corrupt(fmt.Errorf("%s: %w", op, err))
	}
	return hiding(kv.ErrUnavailable, fmt.Errorf("%s: %w", op, err))
}

// corrupt returns ErrCorrupt with what is damaged and what to do.
func (c *config) corrupt(cause error) error {
	// Pebble's errors carry details for its own log, which print like this.
	text := strings.ReplaceAll(cause.Error(), "\n<corruption detail carrier>", "")
	return fmt.Errorf("%w: %s: stop the node, keep %s as it is, and restore it from a copy; what no copy has is lost with it",
		kv.ErrCorrupt, text, c.dir)
}

// users counts who uses an engine.
type users struct {
	n    atomic.Int64 // with retired added at the end
	idle chan struct{}
	once *sync.Once
}

const retired = 1 << 40

func newUsers() users { return users{idle: make(chan struct{}), once: new(sync.Once)} }

// enter reports whether the engine may be used, until leave.
func (u *users) enter() bool {
	if u.n.Add(1) >= retired {
		u.leave()
		return false
	}
	return true
}

func (u *users) leave() {
	if u.n.Add(-1) == retired {
		u.once.Do(func() { close(u.idle) })
	}
}

// several reports whether the engine has more users than one.
func (u *users) several() bool { return u.n.Load() > 1 }

// retire lets nobody in any more, and waits for those who are.
func (u *users) retire() {
	if u.n.Add(retired) == retired {
		u.once.Do(func() { close(u.idle) })
	}
	<-u.idle
}

// Stripes. A key belongs to one of many locks. A writer holds those of its keys
// from before it reads what is there until the disk has what it writes, for two
// reasons: nobody else may write the key in between, and nobody may see it
// before it is sure to last, for Pebble shows a batch before it is synced.

// stripe returns the number of a key's lock.
func (e *engine) stripe(key []byte) uint32 {
	return uint32(maphash.Bytes(e.seed, key)) & uint32(len(e.stripes)-1)
}

// readLock waits until what was written to a key lasts, and keeps it so until
// the function that it returns is called.
func (e *engine) readLock(key []byte) (unlock func()) {
	mu := &e.stripes[e.stripe(key)]
	mu.RLock()
	return mu.RUnlock
}
