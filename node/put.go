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

// put stores a value, if the operation's condition holds.
func (n *Node) put(ctx context.Context, s *topology.State, p int, op *kv.Op) kv.Result {
	return n.write(ctx, s, p, op, func(old *kv.Entry, _ bool) (kv.Entry, bool) {
		return kv.Entry{
			Key: op.Key, Value: op.Value, ContentType: op.ContentType, Expires: op.Expires,
			Version: n.stamp(old.Version),
		}, true
	})
}

// stamp returns a version above old, and above every one given before.
func (n *Node) stamp(old kv.Version) kv.Version {
	return kv.Version{Time: max(n.clock.Next(1), old.Time+1), Node: n.id}
}

// scratch is what a write needs for a moment, kept for reuse.
type scratch struct {
	value   []byte // receives the value that is replaced, which nobody wants
	entries [1]kv.Entry
	held    [1]kv.Version
}

// maxScratch is the largest value buffer that is kept for reuse, in bytes.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return &scratch{value: make([]byte, 0, 4<<10)} }}

func (sc *scratch) free() {
	sc.entries[0] = kv.Entry{}
	if cap(sc.value) > maxScratch {
		sc.value = nil
	}
	scratches.Put(sc)
}

// write makes of the key's newest entry what next says, if the operation's
// condition holds; next may say that there is nothing to do. Nobody else
// writes the key meanwhile.
//
// Where a former owner of the partition does not answer, an unconditional write
// goes on all the same: its stamp is above whatever that one holds. Only
// whether the key existed is not known then, and it counts as existing.
func (n *Node) write(
	ctx context.Context, s *topology.State, p int, op *kv.Op, next func(old *kv.Entry, known bool) (kv.Entry, bool),
) kv.Result {
	sc := scratches.Get().(*scratch)
	defer sc.free()
	theirs, terr := n.elsewhere(ctx, s, p, op.Key, sc)

	lock := n.locks.of(op.Key)
	lock.Lock()
	defer lock.Unlock()
	mine, err := n.store.Get(ctx, op.Key, sc.value)
	if cap(mine.Value) > cap(sc.value) {
		sc.value = mine.Value[:0] // the store made it larger
	}
	old, err := newer(mine, err, theirs, terr)
	old.Value = nil
	known := err == nil || errors.Is(err, kv.ErrNotFound)
	if !known && (op.If != nil || !errors.Is(err, peer.ErrUnavailable)) {
		return kv.Result{Err: err}
	}
	now := n.clock.Now()
	if op.If != nil && !op.If.Holds(&old, now) {
		return kv.Result{Entry: judged(old, now), Err: kv.ErrPrecondition}
	}
	e, do := next(&old, known)
	if !do {
		return kv.Result{Entry: old}
	}
	sc.entries[0] = e
	if err := n.store.Apply(ctx, sc.entries[:], sc.held[:]); err != nil {
		return kv.Result{Err: err}
	}
	if sc.held[0] != e.Version {
		return kv.Result{Err: fmt.Errorf("%q: %w", op.Key, kv.ErrConflict)}
	}
	e.Value = nil
	return kv.Result{Entry: e, Existed: !known || err == nil && old.Live(now)}
}

// elsewhere returns the newest entry that former owners of the key's partition
// hold, kv.ErrNotFound where there is none that matters. They write it no more:
// so it is asked for before the key is locked, and holds after.
func (n *Node) elsewhere(
	ctx context.Context, s *topology.State, p int, key []byte, sc *scratch,
) (kv.Entry, error) {
	if len(s.Former(p)) == 0 {
		return kv.Entry{}, kv.ErrNotFound
	}
	if _, err := n.store.Get(ctx, key, sc.value); !mayBeElsewhere(s, p, err) {
		return kv.Entry{}, kv.ErrNotFound
	}
	return n.inherit(ctx, s, s.Former(p), key)
}

// judged is the entry that a failed precondition tells of: none where the key
// counts as one that never was.
func judged(e kv.Entry, now int64) kv.Entry {
	if e.Expired(now) {
		return kv.Entry{}
	}
	return e
}
