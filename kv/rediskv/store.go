package rediskv

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

var (
	_ kv.Store       = (*Store)(nil)
	_ kv.Scanner     = (*Store)(nil)
	_ kv.Counter     = (*Store)(nil)
	_ kv.Expirer     = (*Store)(nil)
	_ kv.Purger      = (*Store)(nil)
	_ kv.Metadata    = (*Store)(nil)
	_ kv.BatchGetter = (*Store)(nil)
	_ kv.Mortal      = (*Store)(nil)
)

// Store is a [kv.Store] in a Redis server or a Redis Cluster.
//
// A call that meets a lost connection, or a server that cannot answer just
// then, tries again a few times within its deadline, and then returns
// [kv.ErrUnavailable]. The store goes on by itself when the server does, unless
// that has lost what it held: see Lost.
type Store struct {
	client   redis.UniversalClient
	hangUp   context.CancelFunc // ends what is connecting
	target   *target
	layout   *layout
	scripts  scripts
	timeout  time.Duration
	counting time.Duration // how long Stats waits
	log      hclog.Logger
	gate     gate
	lease    lease
	sweep    sweeper
	last     lastStats
	gone     chan struct{} // see Lost
}

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	partition, group := s.layout.place(key)
	var data []byte
	err := s.do(ctx, "get", func(ctx context.Context) (err error) {
		data, err = s.client.HGet(ctx, s.layout.hash(partition), string(key)).Bytes()
		if errors.Is(err, redis.Nil) {
			err = s.missing(ctx, group)
		}
		return err
	})
	if err != nil {
		return kv.Entry{}, err
	}
	e, err := kv.ParseEntry(data)
	if err != nil {
		return kv.Entry{}, err
	}
	e.Key = key
	if cap(dst) >= len(e.Value) {
		e.Value = append(dst[:0], e.Value...)
	}
	return e, nil
}

// Close implements [kv.Store]. It gives the lease back where the server can be
// reached soon; else it lapses.
func (s *Store) Close() error {
	if !s.gate.close() {
		return kv.ErrClosed
	}
	s.lease.stop()
	s.release()
	return s.disconnect()
}

func (s *Store) disconnect() error {
	s.hangUp()
	return s.client.Close()
}

// gate counts the calls under way, and lets none in after it was closed.
type gate struct {
	mu     sync.Mutex // guards closed, and calls against being waited for
	closed bool
	calls  sync.WaitGroup
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return kv.ErrClosed
	}
	g.calls.Add(1)
	return nil
}

// close waits for the calls under way. It reports whether it was the first to
// close.
func (g *gate) close() bool {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	g.calls.Wait()
	return first
}

// do lets op try what it does until it succeeds, it fails for good, or there
// is no use in another try: a few times, and not longer than the store's
// timeout. Its errors are those that stores return. operation is for them.
func (s *Store) do(ctx context.Context, operation string, op func(context.Context) error) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.calls.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.retry(bound, func(ctx context.Context) error {
		if err := s.hold(ctx); err != nil {
			return err
		}
		err := op(ctx)
		switch {
		case errors.Is(err, errUnguarded) || redis.HasErrorPrefix(err, "LEASE"):
			s.lease.doubt()
		case (err == nil || errors.Is(err, redis.Nil)) && !s.lease.sure():
			// It may have come from a server that has lost what it held.
			if held := s.hold(ctx); held != nil {
				return held
			}
		}
		return err
	})
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // the caller's own doing
	}
	return s.explain(operation, err)
}
