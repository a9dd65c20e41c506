package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

var (
	_ kv.Store    = (*Store)(nil)
	_ kv.Scanner  = (*Store)(nil)
	_ kv.Counter  = (*Store)(nil)
	_ kv.Expirer  = (*Store)(nil)
	_ kv.Purger   = (*Store)(nil)
	_ kv.Durable  = (*Store)(nil)
	_ kv.Metadata = (*Store)(nil)
)

// Store is a [kv.Store] in a directory.
type Store struct {
	cfg  config
	lock io.Closer
	room *room
	last lastStats

	now    atomic.Pointer[condition]
	closed atomic.Bool
	stop   chan struct{}  // closed by Close
	work   sync.WaitGroup // watch, and what it started

	mu sync.Mutex // guards changes of now
}

// condition is what a store is in: it has either an engine or an error that
// calls return.
type condition struct {
	engine *engine
	err    error
	again  bool          // the store could not be opened anew, and is tried again and again
	over   chan struct{} // closed when another takes its place
}

// Open opens the store in a directory, which is created where it does not
// exist, and starts a goroutine that opens it anew after a failure of the disk;
// Close ends it. The error says what is wrong with the directory and what to
// do; it is ErrCorrupt where what is in it is damaged, ErrFull where the disk
// has no room even to open it for reading, and ErrUnavailable where the disk
// does not work.
func Open(dir string, opts Options) (*Store, error) {
	cfg, err := opts.config(dir)
	if err != nil {
		return nil, err
	}
	return open(cfg)
}

func open(cfg config) (*Store, error) {
	if err := cfg.makeDir(); err != nil {
		return nil, err
	}
	lock, err := cfg.lockDir()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, lock: lock, room: newRoom(cfg.fs, cfg.dir), stop: make(chan struct{})}
	e, err := s.openFirst()
	if err != nil {
		return nil, errors.Join(err, cfg.unlockDir(lock))
	}
	s.now.Store(&condition{engine: e, over: make(chan struct{})})
	s.work.Go(s.watch)
	return s, nil
}

// openFirst opens the database, and makes it where the store is new.
func (s *Store) openFirst() (*engine, error) {
	fresh, err := s.cfg.prepare()
	if err != nil {
		return nil, err
	}
	if !fresh {
		if err := s.cfg.checkDatabase(); err != nil {
			return nil, err
		}
	}
	e, err := s.openEngine()
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := s.cfg.finish(); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	return e, nil
}

// enter returns the engine that a call is to use. The caller must leave its
// users.
func (s *Store) enter(ctx context.Context) (*engine, error) {
	for {
		c := s.now.Load()
		if c.engine == nil {
			return nil, c.err
		}
		if c.engine.users.enter() {
			return c.engine, nil
		}
		select {
		case <-c.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// read calls do with an engine, and once more where the disk became full under
// it, for that need not keep anybody from reading.
func (s *Store) read(ctx context.Context, do func(e *engine) error) error {
	c := s.now.Load()
	err := s.readOnce(ctx, do)
	if err == nil || !errors.Is(err, kv.ErrFull) {
		return err
	}
	timeout := time.NewTimer(s.cfg.pace.readPatience)
	defer timeout.Stop()
	for errors.Is(err, kv.ErrFull) {
		if c.again {
			return unreadable(err)
		}
		select {
		case <-c.over:
		case <-timeout.C:
			return unreadable(err)
		case <-ctx.Done():
			return ctx.Err()
		}
		c = s.now.Load()
		err = s.readOnce(ctx, do)
	}
	return err
}

func (s *Store) readOnce(ctx context.Context, do func(e *engine) error) error {
	e, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer e.users.leave()
	return do(e)
}

// unreadable returns what a read returns that met a full disk.
func unreadable(err error) error { return hiding(kv.ErrUnavailable, err) }

// Durable implements [kv.Durable].
func (s *Store) Durable() bool { return !s.cfg.noSync }

// Close implements [kv.Store]. It does not write what is in the log into
// tables: Open does.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return kv.ErrClosed
	}
	close(s.stop)
	old := s.replace(&condition{err: kv.ErrClosed})
	s.work.Wait()
	var err error
	if old.engine != nil {
		err = old.engine.close()
	}
	if err != nil {
		err = hiding(kv.ErrUnavailable, fmt.Errorf("close %s: %w", s.cfg.dir, err))
	}
	return errors.Join(err, s.cfg.unlockDir(s.lock))
}

// replace puts a condition in the place of the present one, which it returns,
// unless the store is closed.
func (s *Store) replace(c *condition) (old *condition) {
	c.over = make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.now.Load()
	if old.err != nil && errors.Is(old.err, kv.ErrClosed) {
		return &condition{engine: c.engine} // for the caller to close
	}
	s.now.Store(c)
	close(old.over)
	return old
}
