package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// DoAll runs operations and returns their replies in the same order. Those on
// one key run in their order; otherwise none waits for another, and one that
// fails leaves the others alone. Each coordinator is asked once.
func (n *Node) DoAll(ctx context.Context, ops []kv.Op) []Reply {
	results := make([]kv.Result, len(ops))
	s, err := n.doAll(ctx, ops, results)
	replies := make([]Reply, len(ops))
	for i := range ops {
		if err != nil {
			replies[i].Err = err
			continue
		}
		replies[i] = Reply{Result: results[i], Owner: owner(s, ops[i].Key)}
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
	silent := map[uint64]bool{} // who could not be reached; the pool may not know yet
	n.spread(ctx, s, silent, ops, results)
	for attempt := range maxRefused {
		again := n.retried(ctx, ops, results, attempt == 0)
		if len(again) == 0 {
			return s, nil
		}
		s = n.keeper.State()
		rest := pick(ops, again)
		n.spread(ctx, s, silent, rest.ops, rest.results)
		rest.scatter(results)
	}
	for i := range results {
		results[i].Err = giveUp(results[i].Err)
	}
	return s, nil
}

// retried returns the indexes of the operations that are tried again: those
// that were refused, for which the ring is refreshed; and at first those that
// were not sent, for which another coordinator is found.
func (n *Node) retried(ctx context.Context, ops []kv.Op, results []kv.Result, first bool) []int {
	var again []int
	asked := map[string]error{}
	for i := range ops {
		var stale *refused
		switch err := results[i].Err; {
		case errors.As(err, &stale):
			known, done := asked[stale.by]
			if !done {
				known = n.learnFrom(ctx, stale.by)
				asked[stale.by] = known
			}
			if known != nil {
				results[i].Err = fmt.Errorf("refresh the ring: %w: %s", peer.ErrUnavailable, known.Error())
				continue
			}
			again = append(again, i)
		case first && (errors.Is(err, peer.ErrNotSent) || errors.Is(err, peer.ErrUnavailable) && !ops[i].Verb.IsWrite()):
			again = append(again, i)
		}
	}
	return inTime(again, ops, results)
}

// inTime returns those of the operations to be tried again after which no later
// one on the same key was done. For the others it is too late, which their errors
// then say.
func inTime(again []int, ops []kv.Op, results []kv.Result) []int {
	if len(again) == 0 {
		return nil
	}
	done := map[string]int{} // by key, the last operation that has changed it
	for i := range ops {
		if results[i].Err == nil && ops[i].Verb.IsWrite() {
			done[string(ops[i].Key)] = i
		}
	}
	return slices.DeleteFunc(again, func(i int) bool {
		late := done[string(ops[i].Key)] > i
		if late {
			results[i].Err = unclear(results[i].Err)
		}
		return late
	})
}

// spread sends each operation to the coordinator of its key under s, all of
// them at once. Who cannot be reached is noted in silent, and passed over from
// then on.
func (n *Node) spread(
	ctx context.Context, s *topology.State, silent map[uint64]bool, ops []kv.Op, results []kv.Result,
) {
	if len(ops) == 0 {
		return
	}
	indexes := make([][]int, len(s.Read.Members()))
	used, living := 0, n.living(s)
	for at := range living {
		living[at] = living[at] && !silent[s.Read.Members()[at].Storage]
	}
	// A read that comes with writes goes the way of the writes: it may be of the
	// same key.
	here := !slices.ContainsFunc(ops, func(op kv.Op) bool { return op.Verb.IsWrite() })
	for i := range ops {
		at := n.coordinatorOf(s, living, ops[i].Key, here)
		if indexes[at] == nil {
			used++
		}
		indexes[at] = append(indexes[at], i)
	}
	if used == 1 {
		at := n.coordinatorOf(s, living, ops[0].Key, here)
		if n.callCoordinator(ctx, s, at, ops, results) {
			silent[s.Read.Members()[at].Storage] = true
		}
		return
	}
	var mu sync.Mutex // guards silent
	var wg sync.WaitGroup
	for at, mine := range indexes {
		if len(mine) == 0 {
			continue
		}
		part := pick(ops, mine)
		wg.Go(func() {
			if n.callCoordinator(ctx, s, at, part.ops, part.results) {
				mu.Lock()
				silent[s.Read.Members()[at].Storage] = true
				mu.Unlock()
			}
			part.scatter(results)
		})
	}
	wg.Wait()
}

// living reports of each member of s.Read whether it is believed to answer.
func (n *Node) living(s *topology.State) []bool {
	members := s.Read.Members()
	living := make([]bool, len(members))
	for i := range members {
		living[i] = n.answers(&members[i])
	}
	return living
}

// coordinatorOf returns which member of s.Read is to coordinate an operation:
// the first replica of its key that answers; or this node, where it is one and
// here says that it may.
func (n *Node) coordinatorOf(s *topology.State, living []bool, key []byte, here bool) int {
	replicas := s.Read.Replicas(s.Ring.Partition(key))
	if here {
		for _, at := range replicas {
			if s.Read.Members()[at].Storage == n.id && living[at] {
				return at
			}
		}
	}
	for _, at := range replicas {
		if living[at] {
			return at
		}
	}
	return replicas[0]
}

// callCoordinator has one member coordinate operations on keys that it holds. It
// reports whether that one could not be reached.
func (n *Node) callCoordinator(
	ctx context.Context, s *topology.State, at int, ops []kv.Op, results []kv.Result,
) (silent bool) {
	m := &s.Read.Members()[at]
	if m.Storage == n.id {
		n.serveRouted(ctx, s.Version(), s.Read.Version(), ops, results)
		refusals(m.Name, results)
		return false
	}
	call := peer.Call{
		Lane: peer.Reads, Ring: s.Version(), Read: s.Read.Version(), Ops: ops, Results: results,
	}
	for i := range ops {
		if ops[i].Verb.IsWrite() {
			call.Lane = peer.Writes
			break
		}
	}
	client, err := n.peers.to(m)
	if err == nil {
		err = client.Do(ctx, &call)
	}
	if err == nil {
		refusals(m.Name, results)
		return false
	}
	for i := range results {
		results[i] = kv.Result{Err: fmt.Errorf("%s of a key of %s: %w", ops[i].Verb, m.Name, err)}
	}
	return errors.Is(err, peer.ErrUnavailable)
}

// refusals notes in results that were refused who did it.
func refusals(by string, results []kv.Result) {
	for i := range results {
		if errors.Is(results[i].Err, peer.ErrStale) {
			results[i].Err = &refused{by: by, err: results[i].Err}
		}
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
