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
	order, absent := n.inOrder(to)
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
	l := listening{to: to, key: key, replies: replies, absent: absent, ask: func() bool {
		if next == len(order) {
			return false
		}
		ask()
		return true
	}}
	return l.listen(ctx, next)
}

// listening is what a read needs to wait for answers.
type listening struct {
	to      *reach
	key     []byte
	replies <-chan heard
	absent  []error     // why replicas were not asked
	ask     func() bool // asks one replica more; false: there is none
}

// listen takes answers until there are enough. It asks one more replica for each
// that fails, and where all of those that were asked take their time.
func (l *listening) listen(ctx context.Context, asked int) ([]quorum.Answer, error) {
	answers := make([]quorum.Answer, 0, asked)
	faults := l.absent
	hedge := time.NewTimer(hedgeAfter)
	defer hedge.Stop()
	for len(answers) < l.to.read.Need {
		if asked == 0 {
			return nil, &tooFew{
				key: bytes.Clone(l.key), faults: faults,
				receipt: kv.Receipt{N: l.to.n, Need: l.to.read.Need, Answered: len(answers)},
			}
		}
		select {
		case r := <-l.replies:
			asked--
			switch err := r.result.Err; {
			case err == nil, errors.Is(err, kv.ErrNotFound):
				answers = append(answers, quorum.Answer{Replica: r.at, Entry: r.result.Entry, Full: r.full})
			case errors.Is(err, peer.ErrStale):
				return nil, &refused{by: l.to.members[r.at].Name, err: err}
			default:
				faults = append(faults, err)
				if l.ask() {
					asked++
				}
			}
		case <-hedge.C:
			if l.ask() {
				asked++
				hedge.Reset(hedgeAfter)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d replicas answered for %q, %d are needed: %w",
				len(answers), l.to.n, l.key, l.to.read.Need, ctx.Err())
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
// this node first, then those that answer, then those that have been silent. Of
// the others it says why not.
func (n *Node) inOrder(to *reach) (order []int, absent []error) {
	order = make([]int, 0, len(to.members))
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
			absent = append(absent, err)
		case client.Silent() > hedgeAfter:
			slow = append(slow, at)
		default:
			order = append(order, at)
		}
	}
	return append(order, slow...), absent
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
