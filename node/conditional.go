package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
)

// How a write with a condition is coordinated where there are several replicas
// (CASPaxos: Rystsov, 2018):
//
//  0. The key is read. Where the condition does not hold then, nothing else is
//     done.
//  1. A majority of the replicas under each live ring version promises to take
//     nothing of the key that is older than a new stamp, and tells what it holds.
//  2. The condition is judged by the newest of that.
//  3. What follows is applied under the promised stamp: the new entry; or, where
//     the condition does not hold, and what it was judged by is not held by
//     enough to stay, that once more.

// writeIf coordinates a Put or Delete with a condition, on a key that others
// hold, too.
func (n *Node) writeIf(ctx context.Context, a *admission, op *kv.Op) kv.Result {
	lock, err := n.locks.one(ctx, op.Key)
	if err != nil {
		return kv.Result{Err: errLocked(err)}
	}
	defer func() { <-lock }()
	for attempt := 0; ; attempt++ {
		if result, ok := n.ruledOut(ctx, a, op); ok {
			return result
		}
		result := n.tryIf(ctx, a.s, op)
		var stale *refused
		if !errors.As(result.Err, &stale) {
			return result
		}
		if attempt == maxRefused {
			return kv.Result{Err: unclear(result.Err)}
		}
		if err := a.renew(ctx, stale.by); err != nil {
			return kv.Result{Err: err}
		}
	}
}

// ruledOut reads the key, and returns what becomes of an operation whose
// condition does not hold, or that fails for want of replicas.
func (n *Node) ruledOut(ctx context.Context, a *admission, op *kv.Op) (kv.Result, bool) {
	found := confirmed(n.get(ctx, a, &kv.Op{Verb: kv.Get, Key: op.Key, Blind: true}, nil))
	if found.Err != nil && !errors.Is(found.Err, kv.ErrNotFound) {
		return kv.Result{Err: found.Err}, true
	}
	now := n.clock.Now()
	if op.If.Holds(&found.Entry, now) {
		return kv.Result{}, false
	}
	found.Entry.Value = nil
	return kv.Result{Entry: judged(found.Entry, now), Receipt: found.Receipt, Err: kv.ErrPrecondition}, true
}

// ballot is a stamp that was promised for a key, and what the key held.
type ballot struct {
	promised *round
	to       reach
	stamp    kv.Version
	old      kv.Entry // the newest; zero where nobody holds anything
	holders  quorum.Mask
}

// tryIf is writeIf under one state. Its error is a refused only where nothing
// was applied.
func (n *Node) tryIf(ctx context.Context, s *topology.State, op *kv.Op) kv.Result {
	key := bytes.Clone(op.Key)
	b, err := n.prepare(ctx, s, key, op.Need)
	if err != nil {
		return kv.Result{Err: err}
	}
	now := n.clock.Now()
	if !op.If.Holds(&b.old, now) {
		receipt := kv.Receipt{N: b.to.n, Need: b.to.read.Need, Ring: s.Version()}
		if e := &b.old; !n.stays(ctx, s, &b) {
			e.Version = b.stamp
			if receipt, err = n.accept(ctx, s, &b, e, 0); err != nil {
				return kv.Result{Receipt: receipt, Err: err}
			}
		} else {
			n.withdraw(ctx, b.promised)
		}
		b.old.Value = nil
		return kv.Result{Entry: judged(b.old, now), Receipt: receipt, Err: kv.ErrPrecondition}
	}
	e := entryOf(op, b.stamp)
	e.Key, e.Value = key, bytes.Clone(e.Value)
	receipt, err := n.accept(ctx, s, &b, &e, op.Need)
	if err != nil {
		return kv.Result{Receipt: receipt, Err: err}
	}
	e.Value = nil
	return kv.Result{
		Entry: e, Receipt: receipt, Existed: !b.old.Version.IsZero() && b.old.Live(now),
	}
}

// stays reports whether what a ballot has found will be found by later reads,
// too: it is nothing, or held by enough, of whom some may have answered later.
func (n *Node) stays(ctx context.Context, s *topology.State, b *ballot) bool {
	return b.old.Version.IsZero() || b.to.write.Reached(b.holders) ||
		b.to.write.Reached(n.holders(ctx, s, &b.to, &b.old, b.holders))
}

// prepare has a majority promise a new stamp. The error is kv.ErrConflict where
// another write was faster, a refused, or peer.ErrUnavailable. Nothing is
// applied.
func (n *Node) prepare(ctx context.Context, s *topology.State, key []byte, asked int) (ballot, error) {
	p := s.Ring.Partition(key)
	if _, err := reachOf(s, p, asked, n.id); err != nil {
		return ballot{}, err
	}
	to, err := reachOf(s, p, 0, n.id)
	if err != nil {
		return ballot{}, err
	}
	mine, _ := n.store.Get(ctx, key, nil) // only to begin high enough
	above := mine.Version
	for attempt := 0; ; attempt++ {
		stamp, err := n.stamp(ctx, above)
		if err != nil {
			return ballot{}, err
		}
		r := n.newRound(s, []kv.Op{{Verb: kv.Promise, Key: key, Version: stamp}}, []reach{to}, nil)
		r.run(ctx)
		if _, err = r.outcome(ctx, 0); err == nil {
			return ballotOf(r), nil
		}
		n.withdraw(ctx, r)
		switch {
		case errors.Is(err, peer.ErrStale):
			return ballot{}, &refused{by: r.staleBy(), err: err}
		case !r.promised(0):
			return ballot{}, err
		case attempt == maxPrepared:
			return ballot{}, fmt.Errorf("%q: %w", key, kv.ErrConflict)
		}
		above = r.met(0)
	}
}

// maxPrepared is how often a promise is asked for anew, above what was in its
// way.
const maxPrepared = 2

// ballotOf returns what those hold who have given the promises of a round.
func ballotOf(r *round) ballot {
	b := ballot{promised: r, to: r.to[0], stamp: r.ops[0].Version}
	answers := r.answers(0)
	if at, holders := quorum.Newest(answers); at >= 0 {
		b.old, b.holders = answers[at].Entry, holders
		b.old.Key = r.ops[0].Key
	}
	return b
}

// withdraw gives back what a round has promised, when the last promise was given:
// nothing was applied under that stamp, and never will be. Nobody waits for it;
// who does not hear of it settles that later.
func (n *Node) withdraw(ctx context.Context, r *round) {
	ctx = context.WithoutCancel(ctx)
	n.tails.Go(func() {
		<-r.ended
		ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
		defer cancel()
		op := r.ops[0]
		op.Verb = kv.Withdraw
		n.newRound(r.s, []kv.Op{op}, r.to, nil).run(ctx)
	})
}

// accept has an entry applied under the stamp that was promised. After an error
// some may hold it.
func (n *Node) accept(ctx context.Context, s *topology.State, b *ballot, e *kv.Entry, asked int) (kv.Receipt, error) {
	to := b.to
	if asked != 0 {
		wider, err := reachOf(s, s.Ring.Partition(e.Key), asked, n.id)
		if err != nil {
			return kv.Receipt{}, err
		}
		for i := range to.write {
			to.write[i].Need = max(to.write[i].Need, wider.write[i].Need)
		}
	}
	r := n.newRound(s, []kv.Op{applyOf(e, asked)}, []reach{to}, nil)
	r.run(ctx)
	receipt, err := r.outcome(ctx, 0)
	if errors.Is(err, peer.ErrStale) {
		err = unclear(err)
	}
	return receipt, err
}

// restamp gives what a key holds a new stamp, which ends promises to writers
// that failed half-way. It returns the entry and how many replicas were given
// it.
func (n *Node) restamp(ctx context.Context, s *topology.State, key []byte) (kv.Entry, int, error) {
	b, err := n.prepare(ctx, s, key, 0)
	if err != nil {
		return kv.Entry{}, 0, noConflict(err)
	}
	e := b.old
	if e.Version.IsZero() {
		e = kv.Entry{Key: key, Deleted: true}
	}
	e.Version = b.stamp
	receipt, err := n.accept(ctx, s, &b, &e, 0)
	if err != nil {
		return kv.Entry{}, 0, noConflict(err)
	}
	return e, receipt.Answered, nil
}

// noConflict hides from a reader that a writer was faster.
func noConflict(err error) error {
	if errors.Is(err, kv.ErrConflict) {
		return unclear(err)
	}
	return err
}

// settlePromises ends promises that were not kept for a while. Its error is that
// of the last one that could not be.
func (n *Node) settlePromises(ctx context.Context) (err error) {
	for _, key := range n.share.promises.overdue(time.Now().Add(-promiseAge)) {
		if failed := n.settle(ctx, key); failed != nil {
			err = failed
		}
	}
	return err
}

// settle gives what a key holds a new stamp, where this node is a replica of it.
func (n *Node) settle(ctx context.Context, key []byte) error {
	a, err := n.admit(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer a.release()
	if !holds(a.s, n.id, a.s.Ring.Partition(key)) {
		n.share.promises.drop(key) // its vote counts no more, and what it holds is deleted
		return nil
	}
	_, _, err = n.restamp(ctx, a.s, key)
	return err
}
