package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// hedgeAfter is how long a read waits for the replicas that it has asked before
// it asks one more.
const hedgeAfter = 30 * time.Millisecond

// asking says what a read wants of the replicas.
type asking struct {
	value bool   // of the first one that is asked, this node where it is one
	dst   []byte // receives the value that is read here
}

// heard is what one replica has answered to a read.
type heard struct {
	at     int
	full   bool // with the value
	result kv.Result
}

// collect asks replicas what they hold of a key until enough have answered. Its
// error is peer.ErrStale where a newer ring has to be learned first, from the
// node that the error names, or peer.ErrUnavailable.
func (n *Node) collect(ctx context.Context, s *topology.State, to *reach, key []byte, want asking) ([]quorum.Answer, error) {
	order := n.inOrder(to)
	replies := make(chan heard, len(order))
	var shared []byte // the key, for those whose answer nobody may wait for
	next := 0
	ask := func() {
		at := order[next]
		op := kv.Op{Verb: kv.Get, Key: key, Blind: !want.value || next > 0}
		next++
		if shared == nil {
			shared = bytes.Clone(key)
		}
		op.Key = shared
		n.tails.Go(func() { replies <- heard{at, !op.Blind, n.askFor(ctx, s, to.members[at], op)} })
	}
	// Those elsewhere are asked before this node answers itself.
	first := min(to.read.Need, len(order))
	own := first > 0 && order[0] == to.self
	if own {
		next = 1
	}
	for next < first {
		ask()
	}
	if own {
		op := kv.Op{Verb: kv.Get, Key: key, Blind: !want.value}
		replies <- heard{to.self, want.value, n.hear(ctx, s, op, want.dst)}
	}
	return n.listen(ctx, to, key, replies, &next, len(order), ask)
}

// listen takes answers until there are enough, and asks one more replica for
// each that fails, and where all take their time.
func (n *Node) listen(
	ctx context.Context, to *reach, key []byte, replies <-chan heard, next *int, room int, ask func(),
) ([]quorum.Answer, error) {
	answers := make([]quorum.Answer, 0, room)
	var faults []error
	var hedge *time.Timer
	defer func() {
		if hedge != nil {
			hedge.Stop()
		}
	}()
	for len(answers) < to.read.Need {
		if len(answers)+len(faults) == *next && *next == room {
			return nil, &tooFew{
				key: bytes.Clone(key), faults: faults,
				receipt: kv.Receipt{N: to.n, Need: to.read.Need, Answered: len(answers)},
			}
		}
		var r heard
		select {
		case r = <-replies:
		default:
			if hedge == nil {
				hedge = time.NewTimer(hedgeAfter)
			}
			select {
			case r = <-replies:
			case <-hedge.C:
				if *next < room {
					ask()
					hedge.Reset(hedgeAfter)
				}
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("%d of %d replicas answered for %q, %d are needed: %w",
					len(answers), to.n, key, to.read.Need, ctx.Err())
			}
		}
		switch err := r.result.Err; {
		case err == nil, errors.Is(err, kv.ErrNotFound):
			answers = append(answers, quorum.Answer{Replica: r.at, Entry: r.result.Entry, Full: r.full})
		case errors.Is(err, peer.ErrStale):
			return nil, &refused{by: to.members[r.at].Name, err: err}
		default:
			faults = append(faults, err)
			if *next < room {
				ask()
			}
		}
	}
	return answers, nil
}

// refused is peer.ErrStale, and who said so.
type refused struct {
	by  string
	err error
}

func (e *refused) Error() string { return e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

// inOrder returns the places in to.members of the replicas that a read may ask:
// this node first, then those that answer, then those that have been silent.
func (n *Node) inOrder(to *reach) []int {
	order := make([]int, 0, len(to.members))
	var slow []int
	if to.self >= 0 && to.read.Of.Has(to.self) {
		order = append(order, to.self)
	}
	for at, m := range to.members {
		if at == to.self || !to.read.Of.Has(at) {
			continue
		}
		client, err := n.peers.to(m)
		switch {
		case err != nil:
		case client.Silent() > hedgeAfter:
			slow = append(slow, at)
		default:
			order = append(order, at)
		}
	}
	return append(order, slow...)
}

// hear is askFor of this node.
func (n *Node) hear(ctx context.Context, s *topology.State, op kv.Op, dst []byte) kv.Result {
	call := peer.Call{
		Lane: peer.ReplicaReads, Ring: s.Version(), Read: s.Read.Version(),
		Ops: []kv.Op{op}, Results: []kv.Result{{Entry: kv.Entry{Value: dst}}},
	}
	n.share.serve(ctx, &call)
	return call.Results[0]
}

// askFor asks a replica for exactly what it holds of a key.
func (n *Node) askFor(ctx context.Context, s *topology.State, m *ring.Member, op kv.Op) kv.Result {
	if m.Storage == n.id {
		return n.hear(ctx, s, op, nil)
	}
	client, err := n.peers.to(m)
	if err != nil {
		return kv.Result{Err: err}
	}
	call := peer.Call{
		Lane: peer.ReplicaReads, Ring: s.Version(), Read: s.Read.Version(),
		Ops: []kv.Op{op}, Results: make([]kv.Result, 1),
	}
	if err := client.Do(ctx, &call); err != nil {
		return kv.Result{Err: err}
	}
	return call.Results[0]
}
