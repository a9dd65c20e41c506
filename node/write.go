package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
)

// How a write is coordinated, where it has no condition:
//
//  1. The key is locked: writes of a key that one node coordinates follow one
//     another.
//  2. It is stamped above the clock, and above what this node holds; where that
//     need not be the newest, above what a read of the key finds.
//  3. All replicas under every live ring version are given the entry at once.
//     It is acknowledged when enough of each hold exactly this stamp. It never
//     gets a second one: what was given out may be held by somebody.

// writeAll coordinates Puts and Deletes, each of another key.
func (n *Node) writeAll(ctx context.Context, a *admission, ops []kv.Op, results []kv.Result) {
	unlock, err := n.locks.all(ctx, ops)
	if err != nil {
		failAll(results, errLocked(err))
		return
	}
	defer unlock()
	olds, err := n.currentOlds(ctx, a, ops)
	if err != nil {
		failAll(results, err)
		return
	}
	w := n.newBatchWrite(len(ops))
	for i := range ops {
		e, result, do := n.decide(ctx, &ops[i], &olds[i].Entry, olds[i].Err)
		results[i] = result
		if do {
			w.add(i, &ops[i], &e)
		}
	}
	w.apply(ctx, a, results)
}

// errLocked says that whoever writes the key took too long.
func errLocked(err error) error { return fmt.Errorf("wait for other writes of the key: %w", err) }

// currentOlds is olds under a ring that is new enough for all who are asked.
func (n *Node) currentOlds(ctx context.Context, a *admission, ops []kv.Op) ([]kv.Result, error) {
	for attempt := 0; ; attempt++ {
		olds := n.olds(ctx, a, ops)
		var stale *refused
		for i := range olds {
			if errors.As(olds[i].Err, &stale) {
				break
			}
		}
		if stale == nil || attempt == maxRefused {
			return olds, nil
		}
		if err := a.renew(ctx, stale.by); err != nil { // nothing is stamped yet
			return nil, err
		}
	}
}

// olds returns what each operation's key holds as far as its write has to know,
// without values that mean anything.
func (n *Node) olds(ctx context.Context, a *admission, ops []kv.Op) []kv.Result {
	olds := make([]kv.Result, len(ops))
	mine := make([]kv.Op, len(ops))
	for i := range ops {
		mine[i] = kv.Op{Verb: kv.Get, Key: ops[i].Key, Blind: true}
	}
	n.share.read(ctx, mine, olds)
	if n.allAlone(a.s, ops) {
		return olds
	}
	inParallel(len(ops), func(i int) func() {
		old, p := &olds[i], a.s.Ring.Partition(ops[i].Key)
		known := n.knows(a.s, p)
		if ops[i].Verb == kv.Delete && (!known || old.Err != nil || old.Entry.Deleted) && !n.alone(a.s, p) {
			// Where nothing is left to delete, that has to be so everywhere.
			return func() {
				e, _, err := n.find(ctx, a.s, &mine[i], nil)
				*old = confirmed(n.shown(e, err))
			}
		}
		if known {
			return nil
		}
		return func() { *old = n.newest(ctx, a.s, p, &mine[i]) }
	})
	return olds
}

// confirmed returns what a get has found as what is held: a key that is absent
// for readers is so because of its tombstone, where it has one.
func confirmed(r kv.Result) kv.Result {
	if errors.Is(r.Err, kv.ErrNotFound) && !r.Entry.Version.IsZero() {
		r.Err = nil
	}
	return r
}

// knows reports whether what this node holds of a partition's keys is what was
// acknowledged last, as a rule: it is the one who coordinates their writes, and
// has missed none lately. Where it is wrong a stamp is too low, which the
// replicas notice.
func (n *Node) knows(s *topology.State, p int) bool {
	if len(s.Live) > 1 || s.Ring.Replicas(p)[0] != s.Self {
		return false
	}
	return !n.doubts.any() || n.alone(s, p)
}

// decide judges a Put or Delete by what the key holds, and err by which that is
// not known. It returns the entry to apply and the result that the operation
// has then; where do is false there is nothing to apply.
func (n *Node) decide(ctx context.Context, op *kv.Op, old *kv.Entry, err error) (e kv.Entry, result kv.Result, do bool) {
	old.Value = nil
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return kv.Entry{}, kv.Result{Err: err}, false
	}
	now := n.clock.Now()
	if op.If != nil && !op.If.Holds(old, now) {
		return kv.Entry{}, kv.Result{Entry: judged(*old, now), Err: kv.ErrPrecondition}, false
	}
	if op.Verb == kv.Delete && (old.Version.IsZero() || old.Deleted) {
		return kv.Entry{}, kv.Result{Entry: *old}, false
	}
	version, err := n.stamp(ctx, old.Version)
	if err != nil {
		return kv.Entry{}, kv.Result{Err: err}, false
	}
	e = entryOf(op, version)
	result.Entry = e
	result.Entry.Value = nil
	result.Existed = !old.Version.IsZero() && old.Live(now)
	return e, result, true
}

// stamp returns a version above old, and above every one given before.
func (n *Node) stamp(ctx context.Context, old kv.Version) (kv.Version, error) {
	next, err := n.readings(ctx, 1)
	if err != nil {
		return kv.Version{}, err
	}
	if old.Time >= next {
		// Its clock is behind what it has to be above. A number drawn by lot keeps
		// two writes that begin from the same from getting the same stamp.
		next = old.Time + 1 + rand.Uint64N(maxLot)
	}
	return kv.Version{Time: next, Node: n.id}, nil
}

// maxLot is how far above the clock a stamp may be drawn, in readings: a quarter
// of a second.
const maxLot = 1 << 24

// entryOf returns the entry that a Put or Delete leaves.
func entryOf(op *kv.Op, v kv.Version) kv.Entry {
	if op.Verb == kv.Delete {
		return kv.Entry{Key: op.Key, Deleted: true, Version: v}
	}
	return kv.Entry{
		Key: op.Key, Value: op.Value, ContentType: op.ContentType, Expires: op.Expires, Version: v,
	}
}

// judged is the entry that a failed precondition tells of: none where the key
// counts as one that never was.
func judged(e kv.Entry, now int64) kv.Entry {
	if e.Expired(now) {
		return kv.Entry{}
	}
	return e
}

// putBlind coordinates Puts that nobody wants to know of whether their keys
// existed. There may be several of one key: the last one stays.
func (n *Node) putBlind(ctx context.Context, a *admission, ops []kv.Op, results []kv.Result) {
	unlock, err := n.locks.all(ctx, ops)
	if err != nil {
		failAll(results, errLocked(err))
		return
	}
	defer unlock()
	first, err := n.readings(ctx, len(ops))
	if err != nil {
		failAll(results, err)
		return
	}
	w := n.newBatchWrite(len(ops))
	for i := range ops {
		e := entryOf(&ops[i], kv.Version{Time: first + uint64(i), Node: n.id})
		results[i] = kv.Result{Entry: kv.Entry{Key: e.Key, Version: e.Version}}
		w.add(i, &ops[i], &e)
	}
	w.apply(ctx, a, results)
}

// newest returns the newest entry that a read of a key finds, whether it is
// held by enough or not, without its value.
func (n *Node) newest(ctx context.Context, s *topology.State, p int, op *kv.Op) kv.Result {
	to, err := reachOf(s, p, 0, n.id)
	if err != nil {
		return kv.Result{Err: err}
	}
	answers, err := n.collect(ctx, s, &to, op.Key, asking{})
	if err != nil {
		return kv.Result{Err: err}
	}
	at, _ := quorum.Newest(answers)
	if at < 0 {
		return kv.Result{Err: kv.ErrNotFound}
	}
	return kv.Result{Entry: answers[at].Entry}
}
