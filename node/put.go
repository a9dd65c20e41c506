package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// put stores a value, if the operation's condition holds.
func (n *Node) put(ctx context.Context, s *topology.State, p int, op *kv.Op) kv.Result {
	return n.write(ctx, s, p, op, func(old *kv.Entry) (kv.Entry, bool) {
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
func (n *Node) write(
	ctx context.Context, s *topology.State, p int, op *kv.Op, next func(old *kv.Entry) (kv.Entry, bool),
) kv.Result {
	lock := n.locks.of(op.Key)
	lock.Lock()
	defer lock.Unlock()

	sc := scratches.Get().(*scratch)
	defer sc.free()
	old, err := n.newest(ctx, s, p, op.Key, sc.value)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return kv.Result{Err: err}
	}
	if len(s.Former(p)) == 0 && cap(old.Value) > cap(sc.value) {
		sc.value = old.Value[:0] // the store made it larger; a peer's answer is not ours to keep
	}
	old.Value = nil
	now := n.clock.Now()
	if op.If != nil && !op.If.Holds(&old, now) {
		return kv.Result{Entry: old, Err: kv.ErrPrecondition}
	}
	e, do := next(&old)
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
	return kv.Result{Entry: e, Existed: err == nil && old.Live(now)}
}
