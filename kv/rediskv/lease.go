package rediskv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// defaultLease is how long a lease lasts without being renewed. It is renewed
// three times as often.
const defaultLease = 6 * time.Second

// lease is a store's claim on its namespace, what a lock is to a directory.
type lease struct {
	holder string                // us
	lasts  time.Duration         // without being renewed
	turn   chan struct{}         // has room for one: who renews
	began  time.Time             // what until counts from: its clock does not jump
	until  atomic.Int64          // how long the lease is ours for sure, by our clock
	lost   atomic.Pointer[error] // why the namespace is not ours any more, for good
	cancel context.CancelFunc    // ends keep
	kept   sync.WaitGroup        // keep
}

// newHolder returns a name for the holder of a lease that no other has.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s pid %d %s", host, os.Getpid(), rand.Text())
}

func (l *lease) begin(lasts time.Duration) {
	l.holder, l.lasts, l.turn, l.began = newHolder(), lasts, make(chan struct{}, 1), time.Now()
}

// heldError says who else holds the lease.
type heldError struct {
	holder string
	left   time.Duration // unless it is renewed
}

func (e *heldError) Error() string {
	return fmt.Sprintf("in use by another process (%s), whose claim lapses in %v unless it is renewed", e.holder, e.left)
}

// claim takes the lease or renews it, and writes the format where there is
// none. It returns the format that was there, or an empty string. The error is
// a *heldError where another holds it.
func (s *Store) claim(ctx context.Context, format string) (string, error) {
	asked := time.Since(s.lease.began)
	keys := []string{s.layout.root + "lease", s.layout.root + "format"}
	answer, err := s.scripts.lease.Run(ctx, s.client, keys, s.lease.holder, s.lease.lasts.Milliseconds(), format).Slice()
	if err != nil {
		return "", err
	}
	if len(answer) != 2 {
		return "", fmt.Errorf("%w: lease: %d answers", kv.ErrCorrupt, len(answer))
	}
	if left, ok := answer[1].(int64); ok {
		holder, _ := answer[0].(string)
		return "", &heldError{holder, time.Duration(left) * time.Millisecond}
	}
	s.lease.until.Store(int64(asked + s.lease.lasts))
	found, _ := answer[1].(string)
	return found, nil
}

// sure reports whether the lease cannot have lapsed yet.
func (l *lease) sure() bool { return int64(time.Since(l.began)) < l.until.Load() }

// doubt has the lease renewed before it is relied on again.
func (l *lease) doubt() { l.until.Store(0) }

// fencer returns what fence takes as the holder of the lease for scripts that
// write entries.
func (s *Store) fencer() string {
	if s.target.cluster() {
		return ""
	}
	return s.lease.holder
}

// fenced appends to the keys of such a script what fence takes.
func (s *Store) fenced(keys []string) []string {
	if s.target.cluster() {
		return keys
	}
	return append(keys, s.layout.root+"lease")
}

// hold makes sure that the namespace is ours: where the lease may have lapsed,
// because the server was away or this process was, it is renewed first.
func (s *Store) hold(ctx context.Context) error {
	if lost := s.lease.lost.Load(); lost != nil {
		return *lost
	}
	if s.lease.sure() {
		return nil
	}
	return s.renew(ctx, s.lease.sure)
}

// renew renews the lease, unless that has become needless, and deals with what
// it finds: another holder, or a server that has forgotten everything.
func (s *Store) renew(ctx context.Context, needless func() bool) error {
	select {
	case s.lease.turn <- struct{}{}:
		defer func() { <-s.lease.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if lost := s.lease.lost.Load(); lost != nil {
		return *lost
	}
	if needless() {
		return nil
	}
	found, err := s.claim(ctx, format(s.layout.partitions, len(s.layout.groups)))
	var held *heldError
	switch {
	case errors.As(err, &held):
		lost := fmt.Errorf("%w: namespace lost to another process (%s)", kv.ErrUnavailable, held.holder)
		s.lease.lost.Store(&lost)
		s.log.Error("another process has taken this node's namespace in redis; this store stays unusable until a restart",
			"redis", s.target.String(), "holder", held.holder)
		return lost
	case err != nil:
		return err
	case found == "":
		s.log.Error("redis has lost all entries of this node, as a restart without persistence does; going on with none",
			"redis", s.target.String())
		s.known.owe()
	}
	if err := s.saveAgain(ctx); err != nil {
		return err
	}
	return s.checkMarks(ctx, found != "")
}

// keep renews the lease until ctx ends, or the namespace is lost.
func (s *Store) keep(ctx context.Context) {
	every := s.lease.lasts / 3
	for wait(ctx, every) && s.lease.lost.Load() == nil {
		bound, cancel := context.WithTimeout(ctx, every)
		err := s.renew(bound, func() bool { return false })
		if err != nil && ctx.Err() == nil && s.lease.lost.Load() == nil {
			s.log.Warn("renewing the claim on the namespace in redis", "redis", s.target.String(), "error", err)
		}
		cancel()
	}
}

func (l *lease) stop() {
	l.cancel()
	l.kept.Wait()
}

// release gives the lease back. Where that fails it lapses by itself.
func (s *Store) release() {
	ctx, cancel := context.WithTimeout(context.Background(), min(s.timeout, s.lease.lasts/3))
	defer cancel()
	err := s.scripts.release.Run(ctx, s.client, []string{s.layout.root + "lease"}, s.lease.holder).Err()
	if err != nil {
		s.log.Warn("giving back the claim on the namespace in redis; it lapses by itself", "redis", s.target.String(), "error", err)
	}
}
