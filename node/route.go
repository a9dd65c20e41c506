package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// Do runs one operation: this node coordinates it, or a node that holds its key
// does. A value read here is appended to dst[:0]. Reply.Err is nil or one of the
// errors of [kv.Result], ErrNotReady, ErrBadNeed, or ctx's. Nothing refers to
// op, its bytes or dst once Do has returned.
func (n *Node) Do(ctx context.Context, op *kv.Op, dst []byte) Reply {
	s := n.keeper.State()
	if s == nil {
		return Reply{Result: kv.Result{Err: n.Ready()}}
	}
	result, by := n.route(ctx, s, op, dst)
	for range maxRefused {
		if by == "" || !errors.Is(result.Err, peer.ErrStale) {
			break
		}
		if err := n.learnFrom(ctx, by); err != nil {
			result.Err = fmt.Errorf("refresh the ring: %w: %s", peer.ErrUnavailable, err.Error())
			break
		}
		s = n.keeper.State()
		result, by = n.route(ctx, s, op, dst)
	}
	result.Err = giveUp(result.Err)
	return Reply{Result: result, Owner: owner(s, op.Key)}
}

// owner returns the name of the first replica of a key.
func owner(s *topology.State, key []byte) string {
	return s.Read.Members()[s.Read.Owner(key)].Name
}

// learnFrom learns the ring that a node knows which has refused something; this
// node itself knows it already.
func (n *Node) learnFrom(ctx context.Context, name string) error {
	if name == n.cfg.Name {
		return nil
	}
	return n.keeper.Refresh(ctx, name)
}

// maxRefused is how often an operation is tried again that was refused because
// the ring has changed. One change of the ring is several steps, and each may be
// met.
const maxRefused = 4

// giveUp turns the last refusal of an operation into an error for its caller.
func giveUp(err error) error {
	if errors.Is(err, peer.ErrStale) {
		return fmt.Errorf("the ring changes all the time: %w: %s", peer.ErrUnavailable, err.Error())
	}
	return err
}

// route has the first replica of an operation's key that can be reached
// coordinate it; a read this node, where it is one. It returns which node has
// refused, if one did.
//
// An operation is tried at another replica only where it is certain that
// nothing of it was sent, or where it changes nothing.
func (n *Node) route(ctx context.Context, s *topology.State, op *kv.Op, dst []byte) (kv.Result, string) {
	p := s.Ring.Partition(op.Key)
	var faults []error
	tried := false // here
	if !op.Verb.IsWrite() && n.coordinates(s, p) {
		result := n.coordinateHere(ctx, s, op, dst)
		if !errors.Is(result.Err, peer.ErrUnavailable) || ctx.Err() != nil || len(s.Read.Replicas(p)) == 1 {
			return result, n.cfg.Name
		}
		tried, faults = true, append(faults, result.Err)
	}
	for _, at := range n.coordinators(s, p) {
		m := &s.Read.Members()[at]
		if m.Storage == n.id {
			if tried {
				continue
			}
			return n.coordinateHere(ctx, s, op, dst), n.cfg.Name
		}
		result := n.forward(ctx, s, m, op)
		again := errors.Is(result.Err, peer.ErrNotSent) || !op.Verb.IsWrite() && errors.Is(result.Err, peer.ErrUnavailable)
		if !again || ctx.Err() != nil {
			return result, m.Name
		}
		faults = append(faults, result.Err)
	}
	return kv.Result{Err: fmt.Errorf("no replica of %q can be reached: %w", op.Key, errors.Join(append(faults, peer.ErrUnavailable)...))}, ""
}

// silence is how long a node that something was asked of may say nothing before
// another one coordinates instead. One that is at work says so more often.
const silence = 2 * time.Second

// coordinators returns the replicas of a partition, as indexes into the members
// of s.Read, in the order in which they are to coordinate: the owner first, but
// last those who are believed to be down, are silent, or have a clock that is
// too far ahead.
func (n *Node) coordinators(s *topology.State, p int) []int {
	replicas := s.Read.Replicas(p)
	if n.answers(&s.Read.Members()[replicas[0]]) {
		return replicas
	}
	order := make([]int, 0, len(replicas))
	var last []int
	for _, at := range replicas {
		if n.answers(&s.Read.Members()[at]) {
			order = append(order, at)
		} else {
			last = append(last, at)
		}
	}
	return append(order, last...)
}

// answers reports whether a member is believed to answer, and may coordinate.
func (n *Node) answers(m *ring.Member) bool {
	if m.Storage == n.id {
		return n.keeper.State().Confirmed
	}
	client, err := n.peers.to(m)
	return err == nil && client.Silent() < silence && !client.Ahead()
}

// coordinateHere coordinates an operation for a client of this node.
func (n *Node) coordinateHere(ctx context.Context, s *topology.State, op *kv.Op, dst []byte) kv.Result {
	a, err := n.admit(ctx, s.Version(), s.Read.Version())
	if err != nil {
		return kv.Result{Err: err}
	}
	defer a.release()
	return n.coordinate(ctx, a, op, dst)
}

// forwarded is a call of one operation, kept for reuse.
type forwarded struct {
	call    peer.Call
	ops     [1]kv.Op
	results [1]kv.Result
}

var forwards = sync.Pool{New: func() any { return new(forwarded) }}

// forward has another node coordinate an operation.
func (n *Node) forward(ctx context.Context, s *topology.State, m *ring.Member, op *kv.Op) kv.Result {
	client, err := n.peers.to(m)
	if err != nil {
		return kv.Result{Err: err}
	}
	f := forwards.Get().(*forwarded)
	f.ops[0] = *op
	f.call = peer.Call{
		Lane: laneOf(op.Verb), Ring: s.Version(), Read: s.Read.Version(), Ops: f.ops[:], Results: f.results[:],
	}
	err = client.Do(ctx, &f.call)
	result := f.results[0]
	*f = forwarded{}
	forwards.Put(f)
	if err != nil {
		return kv.Result{Err: fmt.Errorf("%s of a key of %s: %w", op.Verb, m.Name, err)}
	}
	return result
}

func laneOf(verb kv.Verb) peer.Lane {
	if verb.IsWrite() {
		return peer.Writes
	}
	return peer.Reads
}
