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

// write runs one Put or Delete. Nobody else writes the key meanwhile.
func (n *Node) write(ctx context.Context, s *topology.State, p int, op *kv.Op) kv.Result {
	sc := scratches.Get().(*scratch)
	defer sc.free()
	theirs, terr := n.elsewhere(ctx, s, p, op.Key, sc.value)

	lock := n.locks.of(op.Key)
	lock.Lock()
	defer lock.Unlock()
	if ctx.Err() != nil { // whoever held the lock took too long
		return kv.Result{Err: ctx.Err()}
	}
	mine, err := n.store.Get(ctx, op.Key, sc.value)
	if cap(mine.Value) > cap(sc.value) {
		sc.value = mine.Value[:0] // the store made it larger
	}
	old, err := newer(mine, err, theirs, terr)
	e, result, do := n.decide(op, &old, err)
	if !do {
		return result
	}
	sc.entries[0], sc.held[0] = e, kv.Version{}
	err = n.store.Apply(ctx, sc.entries[:], sc.held[:])
	return concluded(result, sc.held[0], err)
}

// decide judges a Put or Delete by the key's newest entry, and err by which
// that is not known. It returns the entry to apply and the result that the
// operation has then; where do is false there is nothing to apply.
//
// Where a former owner of the partition does not answer, an unconditional write
// goes on all the same: its stamp is above whatever that one holds. Only
// whether the key existed is not known then, and it counts as existing.
func (n *Node) decide(op *kv.Op, old *kv.Entry, err error) (e kv.Entry, result kv.Result, do bool) {
	old.Value = nil
	known := err == nil || errors.Is(err, kv.ErrNotFound)
	if !known && (op.If != nil || !errors.Is(err, peer.ErrUnavailable)) {
		return kv.Entry{}, kv.Result{Err: err}, false
	}
	now := n.clock.Now()
	if op.If != nil && !op.If.Holds(old, now) {
		return kv.Entry{}, kv.Result{Entry: judged(*old, now), Err: kv.ErrPrecondition}, false
	}
	if op.Verb == kv.Put {
		e, do = n.put(op, old), true
	} else {
		e, do = n.delete(op, old, known)
	}
	result = kv.Result{Entry: *old, Durable: n.lasts}
	if do {
		result.Entry = e
		result.Entry.Value = nil
		result.Existed = !known || err == nil && old.Live(now)
	}
	return e, result, do
}

// concluded returns the result of a write once its entry was applied, with
// what the store then held and said.
func concluded(result kv.Result, held kv.Version, err error) kv.Result {
	switch {
	case held == result.Entry.Version:
		return result
	case err != nil:
		return kv.Result{Err: err}
	}
	return kv.Result{Err: fmt.Errorf("%q: %w", result.Entry.Key, kv.ErrConflict)}
}

// elsewhere returns the newest entry that former owners of the key's partition
// hold, kv.ErrNotFound where there is none that matters. They write it no more:
// so it is asked for before the key is locked, and holds after.
func (n *Node) elsewhere(
	ctx context.Context, s *topology.State, p int, key, dst []byte,
) (kv.Entry, error) {
	if len(s.Former(p)) == 0 {
		return kv.Entry{}, kv.ErrNotFound
	}
	if _, err := n.store.Get(ctx, key, dst); !n.mayBeElsewhere(s, p, err) {
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
