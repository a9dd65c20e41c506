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

// DoAll runs operations and returns their replies in the same order. Those on
// one key run in their order; otherwise none waits for another, and one that
// fails leaves the others alone. Each owner is asked once.
func (n *Node) DoAll(ctx context.Context, ops []kv.Op) []Reply {
	results := make([]kv.Result, len(ops))
	s, err := n.doAll(ctx, ops, results)
	replies := make([]Reply, len(ops))
	for i := range ops {
		if err != nil {
			replies[i].Err = err
			continue
		}
		owner := s.MemberName(s.Owner(s.Ring.Partition(ops[i].Key)))
		replies[i] = n.reply(s, owner, ops[i].Verb, results[i])
	}
	return replies
}

// doAll fills results, and returns the ring state that was used last. It
// returns an error, and touches nothing, where no ring is known.
func (n *Node) doAll(ctx context.Context, ops []kv.Op, results []kv.Result) (*topology.State, error) {
	s := n.keeper.State()
	if s == nil {
		return nil, n.Ready()
	}
	n.spread(ctx, s, ops, results)
	stale := n.misrouted(ctx, s, ops, results)
	if len(stale) == 0 {
		return s, nil
	}
	s = n.keeper.State()
	again := pick(ops, stale)
	n.spread(ctx, s, again.ops, again.results)
	for i := range again.results {
		again.results[i].Err = giveUp(again.results[i].Err)
	}
	again.scatter(results)
	return s, nil
}

// misrouted returns the indexes of the operations that went to a node which
// no longer owns their keys, having asked those nodes for their ring. Where
// one does not answer, its operations are not tried again.
func (n *Node) misrouted(ctx context.Context, s *topology.State, ops []kv.Op, results []kv.Result) []int {
	var stale []int
	asked := map[int]error{}
	for i := range ops {
		if !errors.Is(results[i].Err, peer.ErrNotOwner) {
			continue
		}
		at := s.Owner(s.Ring.Partition(ops[i].Key))
		err, done := asked[at]
		if !done && at != s.Self {
			err = n.keeper.Refresh(ctx, s.MemberName(at))
			asked[at] = err
		}
		if err != nil {
			results[i].Err = fmt.Errorf("refresh the ring: %w: %w", peer.ErrUnavailable, err)
			continue
		}
		stale = append(stale, i)
	}
	return stale
}

// spread sends each operation to the owner of its key under s, all owners at
// once.
func (n *Node) spread(ctx context.Context, s *topology.State, ops []kv.Op, results []kv.Result) {
	if at, same := sameOwner(s, ops); same {
		n.callOwner(ctx, s, at, ops, results)
		return
	}
	indexes := make([][]int, len(s.Ring.Members()))
	for i := range ops {
		at := s.Owner(s.Ring.Partition(ops[i].Key))
		indexes[at] = append(indexes[at], i)
	}
	var wg sync.WaitGroup
	for at, mine := range indexes {
		if len(mine) == 0 {
			continue
		}
		part := pick(ops, mine)
		wg.Go(func() {
			n.callOwner(ctx, s, at, part.ops, part.results)
			part.scatter(results)
		})
	}
	wg.Wait()
}

// sameOwner reports whether one member owns the keys of all ops, and which.
func sameOwner(s *topology.State, ops []kv.Op) (int, bool) {
	if len(ops) == 0 {
		return 0, false
	}
	at := s.Owner(s.Ring.Partition(ops[0].Key))
	for i := range ops[1:] {
		if s.Owner(s.Ring.Partition(ops[i+1].Key)) != at {
			return 0, false
		}
	}
	return at, true
}

// callOwner has one member run operations on keys that it owns.
func (n *Node) callOwner(ctx context.Context, s *topology.State, at int, ops []kv.Op, results []kv.Result) {
	if at == s.Self {
		n.serveOwned(ctx, s.Version(), ops, results)
		return
	}
	owner := s.MemberName(at)
	call := peer.Call{Lane: peer.Reads, Ring: s.Version(), Ops: ops, Results: results}
	for i := range ops {
		if ops[i].Verb.IsWrite() {
			call.Lane = peer.Writes
			break
		}
	}
	client, err := n.peers.client(owner)
	if err == nil {
		err = client.Do(ctx, &call)
	}
	if err == nil {
		return
	}
	for i := range results {
		results[i] = kv.Result{Err: fmt.Errorf("%s of a key of %s: %w", ops[i].Verb, owner, err)}
	}
}

// part is some of a batch's operations.
type part struct {
	indexes []int // where they stand in the batch
	ops     []kv.Op
	results []kv.Result
}

func pick(ops []kv.Op, indexes []int) part {
	p := part{indexes: indexes, ops: make([]kv.Op, len(indexes)), results: make([]kv.Result, len(indexes))}
	for i, at := range indexes {
		p.ops[i] = ops[at]
	}
	return p
}

func (p part) scatter(results []kv.Result) {
	for i, at := range p.indexes {
		results[at] = p.results[i]
	}
}
