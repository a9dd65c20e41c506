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
	dials  atomic.Int64          // how many connections were made
	seen   atomic.Int64          // how many of them the lease was renewed after
	lost   atomic.Pointer[error] // why the namespace is not ours any more, for good
	beat   int64                 // what the server said last; whose turn it is uses it
	marks  []int64               // the same of each group's mark
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

// claim is what a renewal of the lease has found.
type claim struct {
	format string        // that was there, "" for none
	asked  time.Duration // when, since lease.began
	dials  int64         // lease.dials then
}

// claim takes the lease, and writes format where there is none; or renews the
// lease, where format is empty. The error is a *heldError where another holds
// it, and a *lossError where the namespace is not as it was.
func (s *Store) claim(ctx context.Context, format string) (claim, error) {
	l := &s.lease
	c := claim{asked: time.Since(l.began), dials: l.dials.Load()}
	keys := []string{s.layout.root + "lease", s.layout.root + "format", s.layout.root + "beat"}
	answer, err := s.scripts.lease.Run(ctx, s.client, keys, l.holder, l.lasts.Milliseconds(), l.beat, format).Slice()
	if err != nil {
		return c, err
	}
	if len(answer) != 3 {
		return c, fmt.Errorf("%w: lease: %d answers", kv.ErrCorrupt, len(answer))
	}
	holder, _ := answer[0].(string)
	number, _ := answer[1].(int64)
	c.format, _ = answer[2].(string)
	switch {
	case holder != "":
		return c, &heldError{holder, time.Duration(number) * time.Millisecond}
	case number == 0 && c.format == "":
		return c, &lossError{"all entries of this node are gone, as after a restart without persistence"}
	case number == 0:
		return c, &lossError{"the entries of this node are as they were some time ago, as after a restart from a snapshot"}
	}
	l.beat = number
	return c, nil
}

// trust has the lease be relied on that a claim has taken.
func (l *lease) trust(c claim) {
	l.until.Store(int64(c.asked + l.lasts))
	l.seen.Store(c.dials)
}

// sure reports whether the lease cannot have lapsed yet, and all connections
// lead to where it was renewed last, rather than to a server that has been
// started anew since.
func (l *lease) sure() bool {
	return int64(time.Since(l.began)) < l.until.Load() && l.seen.Load() == l.dials.Load()
}

// doubt has the lease renewed before it is relied on again.
func (l *lease) doubt() { l.until.Store(0) }

// hold makes sure that the namespace is ours and nothing of it is lost: where
// the lease may have lapsed, because the server was away or this process was, it
// is renewed first.
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
// it finds: another holder, or a server that has lost what it held.
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
	c, err := s.claim(ctx, "")
	if err == nil {
		err = s.checkMarks(ctx)
	}
	var held *heldError
	var loss *lossError
	switch {
	case errors.As(err, &held):
		lost := fmt.Errorf("%w: namespace lost to another process (%s)", kv.ErrUnavailable, held.holder)
		s.lease.lost.Store(&lost)
		s.log.Error("another process has taken this node's namespace in redis; this store stays unusable until a restart",
			"redis", s.target.String(), "holder", held.holder)
		return lost
	case errors.As(err, &loss):
		return s.lose(ctx, loss)
	case err != nil:
		return err
	}
	s.lease.trust(c)
	return nil
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
