package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
)

// putBlind stores many values at once without reading what they replace. Its
// stamps are above every entry that was ever acknowledged by a clock this one
// has heard of; where the store holds a newer one all the same, that write is
// stamped anew, above it. Nothing of the first stamp exists anywhere then.
func (n *Node) putBlind(ctx context.Context, ops []kv.Op, results []kv.Result) {
	unlock := n.locks.all(ops)
	defer unlock()
	entries := make([]kv.Entry, len(ops))
	held := make([]kv.Version, len(ops))
	first := n.clock.Next(len(ops))
	for i := range ops {
		op := &ops[i]
		entries[i] = kv.Entry{
			Key: op.Key, Value: op.Value, ContentType: op.ContentType, Expires: op.Expires,
			Version: kv.Version{Time: first + uint64(i), Node: n.id},
		}
	}
	err := n.store.Apply(ctx, entries, held)
	for i := range ops {
		e := &entries[i]
		results[i] = kv.Result{}
		switch {
		case held[i] == e.Version:
			results[i].Entry = kv.Entry{Key: e.Key, Version: e.Version}
		case err != nil:
			results[i].Err = err
		case n.replacedLater(entries, i, held[i]):
			results[i].Entry = kv.Entry{Key: e.Key, Version: e.Version}
		default:
			results[i] = n.putAbove(ctx, e)
		}
	}
}

// replacedLater reports whether a later entry of the same batch is why entry i
// is not the one held.
func (n *Node) replacedLater(entries []kv.Entry, i int, held kv.Version) bool {
	last := entries[len(entries)-1].Version
	return held.Node == n.id && held.Time > entries[i].Version.Time && held.Time <= last.Time
}

// putAbove stores an entry under a new stamp, above what the store holds now.
func (n *Node) putAbove(ctx context.Context, e *kv.Entry) kv.Result {
	met, err := n.store.Get(ctx, e.Key, nil)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return kv.Result{Err: err}
	}
	e.Version = n.stamp(met.Version)
	var held [1]kv.Version
	if err := n.store.Apply(ctx, []kv.Entry{*e}, held[:]); err != nil {
		return kv.Result{Err: err}
	}
	if held[0] != e.Version {
		return kv.Result{Err: fmt.Errorf("%q: %w", e.Key, kv.ErrConflict)}
	}
	return kv.Result{Entry: kv.Entry{Key: e.Key, Version: e.Version}}
}
