package node

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// Operations that come together are run together where they are alike: a
// store that waits for a disk, or replicas that are asked, are then waited for
// once for all of them.

// atOnce is how many keys of one run are asked for singly at once.
const atOnce = 64

// maxWriting is how many keys of a run are locked at once, so that replicas
// that take their time hold up few others.
const maxWriting = 256

// kind is how a node runs an operation.
type kind int

const (
	foreign kind = iota // this node is no replica of the key
	reading
	writing
	conditional
	blind // a put that nobody wants an answer of
	unfit // no operation of a client
)

func (n *Node) kindOf(s *topology.State, op *kv.Op) kind {
	switch {
	case !n.coordinates(s, s.Ring.Partition(op.Key)):
		return foreign
	case op.Verb == kv.Get:
		return reading
	case !op.Verb.IsWrite():
		return unfit
	case op.If != nil:
		return conditional
	case op.Verb == kv.Put && op.Blind:
		return blind
	}
	return writing
}

// coordinates reports whether this node is a replica of a partition that is
// read, and so may run the operations on its keys.
func (n *Node) coordinates(s *topology.State, partition int) bool {
	members := s.Read.Members()
	return slices.ContainsFunc(s.Read.Replicas(partition), func(at int) bool {
		return members[at].Storage == n.id
	})
}

// runAll coordinates operations, in order where they are on one key.
func (n *Node) runAll(ctx context.Context, a *admission, ops []kv.Op, results []kv.Result) {
	for i := 0; i < len(ops); {
		k, end := n.kindOf(a.s, &ops[i]), i+1
		for end < len(ops) && n.kindOf(a.s, &ops[end]) == k {
			end++
		}
		if k == writing {
			end = i + distinct(ops[i:min(end, i+maxWriting)])
		}
		n.run(ctx, a, k, ops[i:end], results[i:end])
		i = end
	}
}

// run coordinates operations of one kind. Those that write have a key each.
func (n *Node) run(ctx context.Context, a *admission, k kind, ops []kv.Op, results []kv.Result) {
	switch {
	case k == foreign:
		failAll(results, errStale(n.cfg.Name, a.s))
	case k == blind:
		n.putBlind(ctx, a, ops, results)
	case k == writing:
		n.writeAll(ctx, a, ops, results)
	case k == reading && len(ops) > 1:
		n.getAll(ctx, a, ops, results)
	default:
		for i := range ops {
			results[i] = n.coordinate(ctx, a, &ops[i], nil)
		}
	}
}

// coordinate runs one operation on a key of which this node is a replica.
func (n *Node) coordinate(ctx context.Context, a *admission, op *kv.Op, dst []byte) kv.Result {
	switch {
	case op.Verb == kv.Get:
		return n.get(ctx, a, op, dst)
	case op.Verb.IsWrite() && op.Need <= 1 && n.alone(a.s, a.s.Ring.Partition(op.Key)):
		return n.writeAlone(ctx, a.s, op)
	case op.Verb.IsWrite() && op.If != nil:
		return n.writeIf(ctx, a, op)
	case op.Verb.IsWrite():
		var results [1]kv.Result
		n.writeAll(ctx, a, []kv.Op{*op}, results[:])
		return results[0]
	}
	return kv.Result{Err: fmt.Errorf("operation on %q: %s %d", op.Key, op.Verb, op.Verb)}
}

// distinct returns how many of the first ops are on different keys.
func distinct(ops []kv.Op) int {
	seen := make(map[uint64]struct{}, len(ops))
	for i := range ops {
		// Two keys of one hash only end the run early.
		hash := xxhash.Sum64(ops[i].Key)
		if _, again := seen[hash]; again {
			return i
		}
		seen[hash] = struct{}{}
	}
	return len(ops)
}

// inParallel runs what work returns for each of n, where it is not nil, some at
// a time.
func inParallel(n int, work func(i int) func()) {
	var working sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range n {
		do := work(i)
		if do == nil {
			continue
		}
		free <- struct{}{}
		working.Go(func() {
			defer func() { <-free }()
			do()
		})
	}
	working.Wait()
}
