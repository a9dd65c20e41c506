package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
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
	w := n.newWriting(len(ops))
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

// batchWrite is entries on their way to their replicas.
type batchWrite struct {
	n   *Node
	at  []int   // the operations that ops are of
	ops []kv.Op // Apply
}

func (n *Node) newWriting(room int) *batchWrite {
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
			w.applyAlone(ctx, a.s, results)
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

// applyAlone is attempt where this node is the only replica.
func (w *batchWrite) applyAlone(ctx context.Context, s *topology.State, results []kv.Result) {
	held := make([]kv.Result, len(w.ops))
	w.n.share.apply(ctx, s.Version(), w.ops, held)
	for i, at := range w.at {
		results[at].Receipt = kv.Receipt{N: 1, Need: 1, Ring: s.Version()}
		results[at] = concluded(results[at], &held[i], w.ops[i].Version)
	}
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
	w := n.newWriting(len(ops))
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
