package pebblekv

import (
	"errors"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// What the store does by itself after a failure of the disk:
//
//  1. Calls get ErrUnavailable, or ErrFull where the disk is full, and the
//     database is opened anew, again and again until that succeeds.
//  2. If it does not succeed for want of room, the database is opened for
//     reading only: reads go on, and all writes get ErrFull. When there is room
//     it is opened for writing again. That is not done after a sync that
//     failed, for what the log holds may then not be on the disk, and reading
//     it would show what may be lost.
//  3. The engine that failed is closed behind: calls that use it end by
//     themselves, with an error.

// openRoom is how many bytes opening takes beside a copy of the log.
const openRoom = 1 << 20

// openEngine opens the database, for reading only where there is no room for
// more.
func (s *Store) openEngine() (*engine, error) {
	e, err := openEngine(&s.cfg, s.room, false)
	var f *fault
	if !errors.As(err, &f) {
		return e, err
	}
	if noRoom(f) && !f.sync {
		if e, rerr := openEngine(&s.cfg, s.room, true); rerr == nil {
			s.cfg.log.Error("the disk is full, so the store is open for reading only until there is room",
				"dir", s.cfg.dir, "error", f)
			return e, nil
		}
	}
	return nil, unavailable(f)
}

// watch mends the store whenever the disk fails, until it is closed.
func (s *Store) watch() {
	for {
		c := s.now.Load()
		if c.engine == nil { // closed
			return
		}
		select {
		case <-s.stop:
			return
		case <-c.engine.disk.ended:
			s.mend(c.engine, unavailable(c.engine.disk.fault()))
		case <-s.room.wanted:
			s.reclaim(c.engine)
		case <-s.roomAgain(c.engine):
			s.mend(c.engine, fmt.Errorf("%w: %s is being opened for writing again", kv.ErrFull, s.cfg.dir))
		}
	}
}

// roomAgain returns a channel from which can be received when it is time to
// open for writing an engine that is open for reading only. Of others, nothing
// ever is.
func (s *Store) roomAgain(e *engine) <-chan struct{} {
	if !e.readOnly {
		return nil
	}
	again := make(chan struct{})
	s.work.Go(func() {
		need := openRoom + int64(e.db.Metrics().WAL.Size) + e.memTable/4
		for {
			select {
			case <-s.stop:
				return
			case <-e.disk.ended:
				return
			case <-time.After(s.cfg.pace.roomCheck):
			}
			if s.room.roomy(need) {
				close(again)
				return
			}
		}
	})
	return again
}

// mend puts a new engine in the place of one, which is closed. The error is
// what calls get meanwhile.
func (s *Store) mend(old *engine, cause error) {
	s.cfg.log.Error("the store is being opened anew", "dir", s.cfg.dir, "cause", cause)
	// No more of it may reach the disk, and all that is read from it is void.
	old.disk.fail(&fault{op: "use", path: s.cfg.dir, err: cause})
	s.replace(&condition{err: cause})
	s.work.Go(func() {
		_ = old.close() // it is broken
	})
	old.disk.settle()
	for wait := s.cfg.pace.firstRetry; ; wait = min(2*wait, s.cfg.pace.lastRetry) {
		e, err := s.openEngine()
		if err == nil {
			s.install(e)
			return
		}
		s.cfg.log.Error("the store cannot be opened", "dir", s.cfg.dir, "error", err, "retry in", wait)
		s.replace(&condition{err: err, again: true})
		select {
		case <-s.stop:
			return
		case <-time.After(wait):
		}
	}
}

// install lets calls use an engine, unless the store was closed meanwhile.
func (s *Store) install(e *engine) {
	if old := s.replace(&condition{engine: e}); old.engine == e {
		_ = e.close() // nobody has used it
		return
	}
	s.cfg.log.Info("the store is open again", "dir", s.cfg.dir, "for writing", !e.readOnly)
}
