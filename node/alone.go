package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// alone reports whether this node is the only replica of a partition there is.
// Then there is nobody to agree with, and an operation is its store's alone.
func (n *Node) alone(s *topology.State, p int) bool {
	at := s.Ring.Replicas(p)
	return len(s.Live) == 1 && len(at) == 1 && at[0] == s.Self
}

// allAlone is alone for the keys of all ops, none of which asks for more.
func (n *Node) allAlone(s *topology.State, ops []kv.Op) bool {
	if len(s.Live) > 1 || len(s.Ring.Replicas(0)) > 1 {
		return false
	}
	return !slices.ContainsFunc(ops, func(op kv.Op) bool {
		return op.Need > 1 || !n.alone(s, s.Ring.Partition(op.Key))
	})
}

// scratch is what a write needs for a moment, kept for reuse.
type scratch struct {
	value   []byte // receives the value that is replaced, which nobody wants
	ops     [1]kv.Op
	results [1]kv.Result
}

// maxScratch is the largest value buffer that is kept for reuse, in bytes.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return &scratch{value: make([]byte, 0, 4<<10)} }}

func (sc *scratch) free() {
	sc.ops[0], sc.results[0] = kv.Op{}, kv.Result{}
	if cap(sc.value) > maxScratch {
		sc.value = nil
	}
	scratches.Put(sc)
}

// writeAlone runs one Put or Delete, with a condition or without, on a key that
// nobody else holds.
func (n *Node) writeAlone(ctx context.Context, s *topology.State, op *kv.Op) kv.Result {
	sc := scratches.Get().(*scratch)
	defer sc.free()
	lock, err := n.locks.one(ctx, op.Key)
	if err != nil {
		return kv.Result{Err: errLocked(err)}
	}
	defer func() { <-lock }()
	old, err := n.store.Get(ctx, op.Key, sc.value)
	if cap(old.Value) > cap(sc.value) {
		sc.value = old.Value[:0] // the store made it larger
	}
	e, result, do := n.decide(ctx, op, &old, err)
	result.Receipt = kv.Receipt{N: 1, Need: 1, Ring: s.Version()}
	if !do {
		return result
	}
	sc.ops[0] = applyOf(&e, 0)
	n.share.apply(ctx, s.Version(), sc.ops[:], sc.results[:])
	return concluded(result, &sc.results[0], e.Version)
}

// concluded completes the result of a write that was applied here alone.
func concluded(result kv.Result, held *kv.Result, wanted kv.Version) kv.Result {
	err := held.Err
	if err == nil && held.Entry.Version != wanted {
		err = fmt.Errorf("%q: %w", result.Entry.Key, kv.ErrConflict)
	}
	if err != nil {
		return kv.Result{Receipt: result.Receipt, Err: err}
	}
	result.Receipt.Answered, result.Receipt.Durable = 1, held.Receipt.Durable
	return result
}

// foundAlone returns what this node's store has said of a key that nobody else
// holds: the entry, or the zero Entry.
func foundAlone(s *topology.State, e kv.Entry, err error) (kv.Entry, kv.Receipt, error) {
	receipt := kv.Receipt{N: 1, Need: 1, Ring: s.Version()}
	if err == nil || errors.Is(err, kv.ErrNotFound) {
		receipt.Answered, err = 1, nil
	}
	return e, receipt, err
}
