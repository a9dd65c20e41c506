package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// Do runs one operation, here or on the node that owns its key. A value read
// here is appended to dst[:0]. Reply.Err is nil or one of the errors of
// [kv.Result], ErrNotReady, or ctx's. Nothing refers to op, its bytes or dst
// once Do has returned.
func (n *Node) Do(ctx context.Context, op *kv.Op, dst []byte) Reply {
	reply, owner := n.attempt(ctx, op, dst)
	if !errors.Is(reply.Err, peer.ErrNotOwner) {
		return reply
	}
	// The owner knows a newer ring than this node, and says so once.
	if err := n.keeper.Refresh(ctx, owner); err != nil {
		reply.Err = fmt.Errorf("refresh the ring: %w: %w", peer.ErrUnavailable, err)
		return reply
	}
	reply, _ = n.attempt(ctx, op, dst)
	reply.Err = giveUp(reply.Err)
	return reply
}

// giveUp turns the second refusal of an operation into an error for its
// caller: it was not applied, and is not tried a third time.
func giveUp(err error) error {
	if errors.Is(err, peer.ErrNotOwner) {
		return fmt.Errorf("the ring changed twice meanwhile: %w", peer.ErrUnavailable)
	}
	return err
}

// attempt runs an operation under the ring that is known now.
func (n *Node) attempt(ctx context.Context, op *kv.Op, dst []byte) (reply Reply, owner string) {
	s, p, err := n.admit(ctx, op.Key)
	if err != nil {
		return Reply{Result: kv.Result{Err: err}}, ""
	}
	at := s.Owner(p)
	owner = s.MemberName(at)
	var result kv.Result
	if at == s.Self {
		result = n.coordinate(ctx, s, p, op, dst)
		s.Release()
	} else {
		s.Release()
		result = n.forward(ctx, s, owner, op)
	}
	return n.reply(s, owner, op.Verb, result), owner
}

// admit acquires the state under which a key is to be routed, and its
// partition; where this node owns it, not before it may serve it.
func (n *Node) admit(ctx context.Context, key []byte) (*topology.State, int, error) {
	for {
		s := n.keeper.Acquire()
		if s == nil {
			return nil, 0, n.Ready()
		}
		p := s.Ring.Partition(key)
		if s.Owner(p) != s.Self || s.Open(p) {
			return s, p, nil
		}
		s.Release()
		if err := n.awaitNewer(ctx, s, 0); err != nil {
			return nil, 0, err
		}
	}
}

// awaitNewer waits until a state other than s is known, of ring version at
// least routed: which is how a member hears of a ring that others route by
// already, and that it may serve what it gained. It does not wait for the dead.
func (n *Node) awaitNewer(ctx context.Context, s *topology.State, routed uint64) error {
	if s == nil || s.Version() < routed {
		n.keeper.Behind()
	} else if down := topology.Absent(s, n.pool.View()); len(down) > 0 {
		return fmt.Errorf("ring %d is not in force before %s is up: %w", s.Version(), down[0], peer.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	_, err := n.keeper.Wait(ctx, func(now *topology.State) bool { return now != s && now.Version() >= routed })
	if err != nil {
		return fmt.Errorf("%w: %w", peer.ErrUnavailable, err)
	}
	return nil
}

// reply completes what a result says with who it came from.
func (n *Node) reply(s *topology.State, owner string, verb kv.Verb, result kv.Result) Reply {
	r := Reply{Result: result, Owner: owner, Receipt: Receipt{N: 1, Need: 1, Ring: s.Version()}}
	if result.Err == nil || !verb.IsWrite() && errors.Is(result.Err, kv.ErrNotFound) {
		r.Receipt.Answered = 1
	}
	if result.Durable {
		r.Receipt.Durable = 1
	}
	return r
}

// forwarded is a call of one operation, kept for reuse.
type forwarded struct {
	call    peer.Call
	ops     [1]kv.Op
	results [1]kv.Result
}

var forwards = sync.Pool{New: func() any { return new(forwarded) }}

// forward has another node coordinate an operation.
func (n *Node) forward(ctx context.Context, s *topology.State, owner string, op *kv.Op) kv.Result {
	client, err := n.peers.client(owner)
	if err != nil {
		return kv.Result{Err: err}
	}
	f := forwards.Get().(*forwarded)
	f.ops[0] = *op
	f.call = peer.Call{Lane: laneOf(op.Verb), Ring: s.Version(), Ops: f.ops[:], Results: f.results[:]}
	err = client.Do(ctx, &f.call)
	result := f.results[0]
	*f = forwarded{}
	forwards.Put(f)
	if err != nil {
		return kv.Result{Err: fmt.Errorf("%s of a key of %s: %w", op.Verb, owner, err)}
	}
	return result
}

func laneOf(verb kv.Verb) peer.Lane {
	if verb.IsWrite() {
		return peer.Writes
	}
	return peer.Reads
}
