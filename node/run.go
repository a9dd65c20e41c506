package node

import (
	"context"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// Operations that come together are run together where they are alike: a
// store that waits for a disk or a server then waits once for all of them.

// maxInheriting is how many keys of one run are asked for at former owners at
// once.
const maxInheriting = 64

// maxWriting is how many keys of a run are locked at once, so that a store that
// takes its time holds up few others.
const maxWriting = 256

// kind is how a node runs an operation.
type kind int

const (
	foreign kind = iota // the key is not this node's
	reading
	writing
	blind // a put that nobody wants an answer of
)

func (n *Node) kindOf(s *topology.State, op *kv.Op) kind {
	switch {
	case s.Owner(s.Ring.Partition(op.Key)) != s.Self:
		return foreign
	case !op.Verb.IsWrite():
		return reading
	case op.Verb == kv.Put && op.Blind && op.If == nil:
		return blind
	}
	return writing
}

// runAll runs operations, in order where they are on one key. s is acquired.
func (n *Node) runAll(ctx context.Context, s *topology.State, ops []kv.Op, results []kv.Result) {
	for i := 0; i < len(ops); {
		k, end := n.kindOf(s, &ops[i]), i+1
		for end < len(ops) && n.kindOf(s, &ops[end]) == k {
			end++
		}
		if k == writing {
			end = i + distinct(ops[i:min(end, i+maxWriting)])
		}
		n.run(ctx, s, k, ops[i:end], results[i:end])
		i = end
	}
}

// run runs operations of one kind. Those that write have a key each.
func (n *Node) run(ctx context.Context, s *topology.State, k kind, ops []kv.Op, results []kv.Result) {
	switch {
	case k == foreign:
		for i := range results {
			results[i] = kv.Result{Err: peer.ErrNotOwner}
		}
	case k == blind:
		n.putBlind(ctx, ops, results)
	case k == writing && len(ops) > 1:
		n.writeAll(ctx, s, ops, results)
	case k == reading && len(ops) > 1 && n.batches != nil:
		n.getAll(ctx, s, ops, results)
	default:
		for i := range ops {
			results[i] = n.coordinate(ctx, s, s.Ring.Partition(ops[i].Key), &ops[i], nil)
		}
	}
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

// getAll is get of each key.
func (n *Node) getAll(ctx context.Context, s *topology.State, ops []kv.Op, results []kv.Result) {
	f := newFetch(len(ops))
	f.read(ctx, n, ops)
	inParallel(len(ops), func(i int) func() {
		p := s.Ring.Partition(ops[i].Key)
		if n.mayBeElsewhere(s, p, f.errs[i]) {
			return func() { results[i] = n.get(ctx, s, p, ops[i].Key, nil) }
		}
		results[i] = n.shown(f.found[i], f.errs[i])
		return nil
	})
}

// inParallel runs what work returns for each of n, where it is not nil, some at
// a time.
func inParallel(n int, work func(i int) func()) {
	var working sync.WaitGroup
	free := make(chan struct{}, maxInheriting)
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

// fetch is what the store holds of several operations' keys.
type fetch struct {
	found []kv.Entry // by operation
	errs  []error
	value []byte // receives values that nobody wants
}

func newFetch(n int) *fetch { return &fetch{found: make([]kv.Entry, n), errs: make([]error, n)} }

// read reads the operations' keys with their values.
func (f *fetch) read(ctx context.Context, n *Node, ops []kv.Op) {
	if n.batches == nil {
		for i := range ops {
			f.found[i], f.errs[i] = n.store.Get(ctx, ops[i].Key, nil)
		}
		return
	}
	keys := make([][]byte, len(ops))
	for i := range ops {
		keys[i] = ops[i].Key
	}
	n.batches.GetBatch(ctx, keys, f.found, f.errs)
}

// peek reads the operations' keys; what stands in Value means nothing.
func (f *fetch) peek(ctx context.Context, n *Node, ops []kv.Op) {
	if n.batches != nil {
		f.read(ctx, n, ops)
		return
	}
	for i := range ops {
		f.found[i], f.errs[i] = n.store.Get(ctx, ops[i].Key, f.value)
		f.value = f.found[i].Value[:0]
	}
}

// writeAll is write of each operation, with one Apply for all.
func (n *Node) writeAll(ctx context.Context, s *topology.State, ops []kv.Op, results []kv.Result) {
	theirs := n.allElsewhere(ctx, s, ops)
	unlock := n.locks.all(ops)
	defer unlock()
	if err := ctx.Err(); err != nil { // whoever held a lock took too long
		for i := range results {
			results[i] = kv.Result{Err: err}
		}
		return
	}
	f := newFetch(len(ops))
	f.peek(ctx, n, ops)
	entries := make([]kv.Entry, 0, len(ops))
	decided := make([]int, 0, len(ops)) // the operations that entries are of
	for i := range ops {
		old, err := f.found[i], f.errs[i]
		if theirs != nil {
			old, err = newer(old, err, theirs[i].Entry, theirs[i].Err)
		}
		e, result, do := n.decide(&ops[i], &old, err)
		results[i] = result
		if do {
			entries, decided = append(entries, e), append(decided, i)
		}
	}
	if len(entries) == 0 {
		return
	}
	held := make([]kv.Version, len(entries))
	err := n.store.Apply(ctx, entries, held)
	for at, i := range decided {
		results[i] = concluded(results[i], held[at], err)
	}
}

// allElsewhere is elsewhere of each operation's key; nil where no partition of
// theirs ever had another owner.
func (n *Node) allElsewhere(ctx context.Context, s *topology.State, ops []kv.Op) []kv.Result {
	var theirs []kv.Result
	inParallel(len(ops), func(i int) func() {
		p := s.Ring.Partition(ops[i].Key)
		if len(s.Former(p)) == 0 {
			return nil
		}
		if theirs == nil {
			theirs = make([]kv.Result, len(ops))
			for j := range theirs {
				theirs[j].Err = kv.ErrNotFound
			}
		}
		return func() { theirs[i].Entry, theirs[i].Err = n.elsewhere(ctx, s, p, ops[i].Key, nil) }
	})
	return theirs
}
