package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// batchWrite is entries on their way to their replicas.
type batchWrite struct {
	n   *Node
	at  []int   // the operations that ops are of
	ops []kv.Op // Apply
}

func (n *Node) newBatchWrite(room int) *batchWrite {
	return &batchWrite{n: n, at: make([]int, 0, room), ops: make([]kv.Op, 0, room)}
}

// add takes in an entry that operation at has led to.
func (w *batchWrite) add(at int, op *kv.Op, e *kv.Entry) {
	w.at = append(w.at, at)
	w.ops = append(w.ops, applyOf(e, op.Need))
}

// applyOf returns the operation that has a replica keep an entry.
func applyOf(e *kv.Entry, need int) kv.Op {
	return kv.Op{
		Verb: kv.Apply, Key: e.Key, Value: e.Value, ContentType: e.ContentType,
		Expires: e.Expires, Version: e.Version, Deleted: e.Deleted, Need: need,
	}
}

// apply has the entries applied by their replicas, and completes the results of
// the operations that they come from. Under a ring that has changed meanwhile
// it tries again: the same entries under the same stamps.
func (w *batchWrite) apply(ctx context.Context, a *admission, results []kv.Result) {
	if len(w.ops) == 0 {
		return
	}
	owned := false
	for attempt := 0; ; attempt++ {
		to, alone := w.reach(a.s, results)
		switch {
		case len(w.ops) == 0: // all ask for more than there are
			return
		case alone:
			w.applyAlone(ctx, a.s, results, owned)
			return
		}
		if !owned {
			w.own()
			owned = true
		}
		stale, from := w.attempt(ctx, a, to, results)
		if len(stale) == 0 {
			return
		}
		if err := a.renew(ctx, from); err != nil || attempt == maxRefused {
			for _, i := range stale {
				results[w.at[i]].Err = unclear(results[w.at[i]].Err)
			}
			return
		}
		w.keep(stale)
	}
}

// unclear turns a refusal into the error of a write that some may have applied.
func unclear(err error) error { return fmt.Errorf("%w: %s", peer.ErrUnavailable, err.Error()) }

// reach finds the replicas of each entry. Operations that ask for more than
// there are fail. It reports whether this node is the only replica of all.
func (w *batchWrite) reach(s *topology.State, results []kv.Result) (to []reach, alone bool) {
	alone = true
	to = make([]reach, 0, len(w.ops))
	var kept []int
	for i := range w.ops {
		p := s.Ring.Partition(w.ops[i].Key)
		if alone && w.n.alone(s, p) && w.ops[i].Need <= 1 {
			to = append(to, reach{n: 1})
			kept = append(kept, i)
			continue
		}
		alone = false
		r, err := reachOf(s, p, w.ops[i].Need, w.n.id)
		if err != nil {
			results[w.at[i]] = kv.Result{Err: err}
			continue
		}
		to = append(to, r)
		kept = append(kept, i)
	}
	if !alone {
		for i, at := range kept {
			if to[i].members == nil {
				to[i], _ = reachOf(s, s.Ring.Partition(w.ops[at].Key), w.ops[at].Need, w.n.id)
			}
		}
	}
	if len(kept) < len(w.ops) {
		w.keep(kept)
	}
	return to, alone
}

// keep drops all entries but those. Replicas may still be given what there was.
func (w *batchWrite) keep(which []int) {
	at, ops := make([]int, len(which)), make([]kv.Op, len(which))
	for i, from := range which {
		at[i], ops[i] = w.at[from], w.ops[from]
	}
	w.at, w.ops = at, ops
}

// own copies the entries' bytes: replicas are still given them when the
// operation is over.
func (w *batchWrite) own() {
	size := 0
	for i := range w.ops {
		size += len(w.ops[i].Key) + len(w.ops[i].Value)
	}
	all := bytes.NewBuffer(make([]byte, 0, size))
	take := func(b []byte) []byte {
		at := all.Len()
		all.Write(b)
		return all.Bytes()[at:all.Len():all.Len()]
	}
	for i := range w.ops {
		w.ops[i].Key, w.ops[i].Value = take(w.ops[i].Key), take(w.ops[i].Value)
	}
}

// attempt has the entries applied under one state. It returns those that were
// refused because the ring has changed, and who knows that.
func (w *batchWrite) attempt(ctx context.Context, a *admission, to []reach, results []kv.Result) (stale []int, from string) {
	r := w.n.newRound(a.s, w.ops, to, nil)
	r.run(ctx)
	for i, at := range w.at {
		receipt, err := r.outcome(ctx, i)
		results[at].Receipt = receipt
		results[at].Err = err
		if err == nil {
			continue
		}
		results[at].Entry, results[at].Existed = kv.Entry{}, false
		if errors.Is(err, peer.ErrStale) {
			stale = append(stale, i)
		}
	}
	return stale, r.staleBy()
}

// applyAlone is attempt where this node is the only replica. Where others were
// given the entries before, under another ring, a refusal leaves them unclear.
func (w *batchWrite) applyAlone(ctx context.Context, s *topology.State, results []kv.Result, given bool) {
	held := make([]kv.Result, len(w.ops))
	w.n.share.apply(ctx, s.Version(), w.ops, held)
	for i, at := range w.at {
		results[at].Receipt = kv.Receipt{N: 1, Need: 1, Ring: s.Version()}
		results[at] = concluded(results[at], &held[i], w.ops[i].Version)
		if err := results[at].Err; err != nil && given {
			results[at].Err = unclear(err)
		}
	}
}
