package memcachekv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// maxSessions is how many connections a store has to a server at most.
	maxSessions = 32
	// maxAttempts is how often a call is tried where the server does not answer
	// as it should, and firstPause how long it waits before the second retry;
	// that doubles each time. It is 0.3 s in all.
	maxAttempts = 6
	firstPause  = 20 * time.Millisecond
)

// server is one of the servers of a store.
type server struct {
	store *Store
	index int // among the store's servers
	addr  string

	// mark is the prefix of the keys of all entries there.
	mark atomic.Pointer[string]
	// epoch rises with each new mark: older connections may lead to the server
	// that had the old one.
	epoch atomic.Uint64
	// spent says that the mark is to be replaced although it is there: all
	// entries are to be dropped.
	spent atomic.Bool
	// trusted is until when the lease cannot have lapsed, as time since the
	// store's start.
	trusted atomic.Int64

	checking chan struct{} // holds one token while a check is under way
	places   chan struct{} // holds a token for each session in use
	mu       sync.Mutex    // guards idle
	idle     []*session    // the last one was used last, and is used next
}

func newServer(store *Store, index int, addr string) *server {
	srv := &server{
		store: store, index: index, addr: addr,
		checking: make(chan struct{}, 1),
		places:   make(chan struct{}, maxSessions),
	}
	srv.mark.Store(new(string))
	return srv
}

// do calls fn with a connection that leads to the server with this store's
// lease and mark, again after a while where it fails. fn must return what the
// session's client returned, and may be called again after that. The error is
// one of kv's, wrapped.
func (srv *server) do(ctx context.Context, fn func(*session) error) error {
	return srv.retry(ctx, maxAttempts, func() error {
		return srv.with(ctx, func(s *session) error {
			if err := srv.ready(ctx, s); err != nil {
				return err
			}
			return fn(s)
		})
	})
}

// retry calls fn until it succeeds, fails for good, or has failed attempts
// times.
func (srv *server) retry(ctx context.Context, attempts int, fn func() error) error {
	var err error
	for attempt := range attempts {
		if attempt > 1 { // a connection that was left idle may have ended long ago
			half := firstPause << (attempt - 2) / 2
			if pause(ctx, half+rand.N(half)) != nil {
				break
			}
		}
		err = fn()
		if err == nil || final(err) {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return fmt.Errorf("%w: memcached %s: %w", kv.ErrUnavailable, srv.addr, err)
}

// refusal is an error of what was found on a server, which asking again does
// not change.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// final reports whether an error is no matter of the connection.
func final(err error) bool {
	var refused refusal
	return errors.As(err, &refused) || errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrFull) || errors.Is(err, kv.ErrTooLarge)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// with calls fn with a session that nobody else uses, bound to ctx.
func (srv *server) with(ctx context.Context, fn func(*session) error) error {
	select {
	case srv.places <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", ctx.Err())
	}
	defer func() { <-srv.places }()
	s := srv.take()
	defer srv.give(s)
	defer s.bind(ctx)()
	return fn(s)
}

func (srv *server) take() *session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if n := len(srv.idle); n > 0 {
		s := srv.idle[n-1]
		srv.idle = srv.idle[:n-1]
		return s
	}
	return newSession(srv.addr, srv.store.timeout/3)
}

func (srv *server) give(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.idle = append(srv.idle, s)
}

// ready checks a session that is not known to lead where it should.
func (srv *server) ready(ctx context.Context, s *session) error {
	epoch := srv.epoch.Load()
	if s.epoch == epoch && s.connected() && srv.store.since() < time.Duration(srv.trusted.Load()) {
		return nil
	}
	if s.epoch != epoch || !s.connected() {
		s.close()
	}
	s.dial = true
	defer func() { s.dial = false }()
	if err := srv.check(ctx, s); err != nil {
		s.close() // or it would seem to have been checked
		return err
	}
	s.epoch = epoch
	return nil
}

// close ends all connections. No call may be under way.
func (srv *server) close() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, s := range srv.idle {
		s.close()
	}
	srv.idle = nil
}
