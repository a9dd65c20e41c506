package nodetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/node/peer"
)

// This file is all that depends on how a node is made and what a store is
// asked.

// newNode makes the node of a life.
func (c *Cluster) newNode(ctx context.Context, l *life, logger hclog.Logger) (*node.Node, error) {
	return node.New(ctx, node.Config{
		Name: l.name, Boot: l.boot,
		Founder: l.name == c.founder, FoundingWait: c.opts.FoundingWait,
		Partitions: c.opts.Partitions, Replicas: c.opts.Replicas,
		RepairEvery: c.opts.RepairEvery, TombstoneGrace: c.opts.Grace, Timeout: c.opts.Timeout,
		Wall: c.Clock(l.name).Now,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return l.host.Dial(ctx, addr) },
	}, l.store, l.pool, logger)
}

// facts is what a node says of itself when it starts.
func (c *Cluster) facts(l *life) membership.Facts {
	return membership.Facts{
		Boot: l.boot, Peer: Addr(l.name), HTTP: "http." + l.name,
		Founding: l.name == c.founder, Weight: 1, Software: "nodetest",
	}
}

// require sets how many replicas must answer an operation: "one", "all", or
// "quorum" or "" for the default.
func require(op *kv.Op, need string) error {
	switch need {
	case "", "quorum":
		op.Need = 0
	case "one":
		op.Need = 1
	case "all":
		op.Need = kv.All
	default:
		return fmt.Errorf("no such consistency: %q", need)
	}
	return nil
}

// words are what scripts call errors, the first that fits.
var words = []struct {
	err  error
	text string
}{
	{ErrGone, "not running"},
	{errCrashed, "crashed"},
	{node.ErrNotReady, "not ready"},
	{kv.ErrPrecondition, "precondition failed"},
	{kv.ErrConflict, "conflict"},
	{kv.ErrFull, "full"},
	{peer.ErrOverloaded, "overloaded"},
	{peer.ErrUnavailable, "unavailable"},
	{context.DeadlineExceeded, "timeout"},
	{node.ErrRemoved, "removed"},
	{node.ErrTooFew, "too few"},
	{kv.ErrNotFound, "not found"},
}

// NotApplied reports whether an operation that returned err has left the key
// as it was, for certain.
func NotApplied(err error) bool {
	for _, certain := range []error{ErrGone, node.ErrNotReady, kv.ErrPrecondition, kv.ErrConflict} {
		if errors.Is(err, certain) {
			return true
		}
	}
	return false
}

// store is what one life of a node sees of a store, which outlives it.
type store struct {
	*kv.Memory
	lasts bool
	fail  func() error // see Cluster.FailStore

	mu   sync.RWMutex // guards dead; held while something is written
	dead bool
}

// kill makes every call from now on fail. What is being written is written
// before it returns.
func (s *store) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// alive returns the error of a call that comes now.
func (s *store) alive() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dead {
		return kv.ErrClosed
	}
	return nil
}

// write does what writes, unless the life is over.
func (s *store) write(do func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.dead {
		return kv.ErrClosed
	}
	return do()
}

// Durable implements kv.Durable.
func (s *store) Durable() bool { return s.lasts }

// Get implements kv.Store.
func (s *store) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	if err := s.alive(); err != nil {
		return kv.Entry{}, err
	}
	return s.Memory.Get(ctx, key, dst)
}

// Apply implements kv.Store.
func (s *store) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	return s.write(func() error {
		if err := s.fail(); err != nil {
			return err
		}
		return s.Memory.Apply(ctx, entries, done)
	})
}

// Purge implements kv.Purger.
func (s *store) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	return s.write(func() error { return s.Memory.Purge(ctx, refs, purged) })
}

// Scan implements kv.Scanner.
func (s *store) Scan(ctx context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	err := s.alive()
	if err != nil {
		return err
	}
	scanned := s.Memory.Scan(ctx, partition, from, func(e *kv.Entry) bool {
		err = s.alive()
		return err == nil && visit(e)
	})
	return errors.Join(scanned, err)
}

// Expire implements kv.Expirer.
func (s *store) Expire(ctx context.Context, now int64, budget int) (n int, err error) {
	err = s.write(func() error {
		n, err = s.Memory.Expire(ctx, now, budget)
		return err
	})
	return n, err
}

// LoadMeta implements kv.Metadata.
func (s *store) LoadMeta(ctx context.Context, name string) ([]byte, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	return s.Memory.LoadMeta(ctx, name)
}

// SaveMeta implements kv.Metadata.
func (s *store) SaveMeta(ctx context.Context, name string, data []byte) error {
	return s.write(func() error { return s.Memory.SaveMeta(ctx, name, data) })
}

// Close implements kv.Store. What it holds is there for the next life.
func (s *store) Close() error {
	s.kill()
	return nil
}
