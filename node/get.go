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

// How a read is coordinated:
//
//  1. Enough replicas of the ring version that is read are asked, one of them
//     for the value and the others for the version.
//  2. What is returned has to be held by enough replicas under every live ring
//     version, or a later read might not find it. Where the answers do not show
//     that, it is written back first.

// get reads a key. An entry that has expired is absent, as if it had never
// been; of a deleted one the tombstone is returned with the error.
func (n *Node) get(ctx context.Context, a *admission, op *kv.Op, dst []byte) kv.Result {
	for attempt := 0; ; attempt++ {
		e, receipt, err := n.find(ctx, a.s, op, dst)
		var stale *refused
		if !errors.As(err, &stale) || attempt == maxRefused {
			result := n.shown(e, err)
			result.Receipt = receipt
			return result
		}
		if err := a.renew(ctx, stale.by); err != nil {
			return kv.Result{Err: err}
		}
	}
}

// shown returns the result of reading a key whose newest entry is e.
func (n *Node) shown(e kv.Entry, err error) kv.Result {
	switch {
	case err != nil:
		return kv.Result{Err: err}
	case e.Version.IsZero():
		return kv.Result{Err: kv.ErrNotFound}
	case e.Expires != 0 && e.Expired(n.clock.Now()):
		return kv.Result{Err: kv.ErrNotFound}
	case e.Deleted:
		return kv.Result{Entry: e, Err: kv.ErrNotFound}
	}
	return kv.Result{Entry: e}
}

// errOvertaken says that what was read has been replaced before it was
// confirmed.
var errOvertaken = fmt.Errorf("%w: overtaken by a newer write", peer.ErrUnavailable)

// find returns the newest entry of a key, or the zero Entry.
func (n *Node) find(ctx context.Context, s *topology.State, op *kv.Op, dst []byte) (kv.Entry, kv.Receipt, error) {
	for attempt := 0; ; attempt++ {
		e, receipt, err := n.seek(ctx, s, op, dst)
		if !errors.Is(err, errOvertaken) || attempt == maxOvertaken {
			return e, receipt, err
		}
	}
}

// maxOvertaken is how often a read begins again that was overtaken by writes.
const maxOvertaken = 16

// seek is one attempt of find.
func (n *Node) seek(ctx context.Context, s *topology.State, op *kv.Op, dst []byte) (kv.Entry, kv.Receipt, error) {
	p := s.Ring.Partition(op.Key)
	if n.alone(s, p) && op.Need <= 1 {
		e, err := n.share.get(ctx, op, dst)
		return foundAlone(s, e, err)
	}
	receipt := kv.Receipt{N: 1, Need: 1, Ring: s.Version()}
	to, err := reachOf(s, p, op.Need, n.id)
	if err != nil {
		return kv.Entry{}, receipt, err
	}
	receipt.N, receipt.Need = to.n, to.read.Need
	answers, err := n.collect(ctx, s, &to, op.Key, asking{value: !op.Blind, dst: dst})
	if err != nil {
		return kv.Entry{}, receipt, err
	}
	receipt.Answered = len(answers)
	at, holders := quorum.Newest(answers)
	if at < 0 {
		return kv.Entry{}, receipt, nil
	}
	e := answers[at].Entry
	firm := !to.certain() || to.write.Reached(holders)
	if !e.Deleted && !answers[at].Full && (!op.Blind || !firm) {
		if e, holders, err = n.fetch(ctx, s, &to, &e, holders); err != nil {
			return kv.Entry{}, receipt, err
		}
		firm = !to.certain() || to.write.Reached(holders)
	}
	e.Key = op.Key
	if firm {
		return e, receipt, nil
	}
	e, receipt.Repaired, err = n.confirm(ctx, s, &to, e, holders)
	return e, receipt, err
}

// fetchPatience is how long one replica has to give a value that another may
// have, too.
const fetchPatience = 2 * time.Second

// fetch returns with its value what replicas hold that have shown e without, or
// what they hold by now, and who is known to hold it.
func (n *Node) fetch(ctx context.Context, s *topology.State, to *reach, e *kv.Entry, holders quorum.Mask) (kv.Entry, quorum.Mask, error) {
	var faults []error
	for at, m := range to.members {
		if !holders.Has(at) {
			continue
		}
		short, cancel := context.WithTimeout(ctx, fetchPatience)
		r := n.askFor(short, s, m, kv.Op{Verb: kv.Get, Key: e.Key})
		cancel()
		switch {
		case errors.Is(r.Err, peer.ErrStale):
			return kv.Entry{}, 0, &refused{by: m.Name, err: r.Err}
		case errors.Is(r.Err, kv.ErrNotFound): // it was dropped since, or its partition has moved
			return kv.Entry{}, 0, errOvertaken
		case r.Err != nil:
			faults = append(faults, r.Err)
		case r.Entry.Version == e.Version:
			return r.Entry, holders, nil
		default:
			return r.Entry, quorum.Mask(0).With(at), nil
		}
	}
	return kv.Entry{}, 0, &tooFew{key: bytes.Clone(e.Key), faults: faults, receipt: kv.Receipt{N: to.n, Need: to.read.Need}}
}

// confirm has enough replicas hold what a read is about to return. It returns
// the entry that they hold then, and to how many of them it was given.
func (n *Node) confirm(
	ctx context.Context, s *topology.State, to *reach, e kv.Entry, holders quorum.Mask,
) (kv.Entry, int, error) {
	held := e
	held.Key, held.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	r := n.newRound(s, []kv.Op{applyOf(&held, 0)}, []reach{*to}, []quorum.Mask{holders})
	r.run(ctx)
	receipt, err := r.outcome(ctx, 0)
	repaired := receipt.Answered - (holders & to.write[len(to.write)-1].Of).Count()
	switch {
	case err == nil:
		n.repaired.Add(int64(repaired))
		return e, repaired, nil
	case errors.Is(err, peer.ErrStale):
		return kv.Entry{}, 0, &refused{by: r.staleBy(), err: err}
	case r.overtaken(0):
		return kv.Entry{}, 0, fmt.Errorf("%w: %s", errOvertaken, err.Error())
	case r.promised(0):
		return n.restamp(ctx, s, held.Key)
	case to.write.Reached(n.holders(ctx, s, to, &held, holders)):
		return e, 0, nil
	}
	return kv.Entry{}, 0, fmt.Errorf("give to the others what was read: %w", err)
}

// holders asks all who are not known to hold an entry whether they do, and
// returns who does. It is for replicas that take nothing now: what enough of
// them hold already needs no room.
func (n *Node) holders(ctx context.Context, s *topology.State, to *reach, e *kv.Entry, known quorum.Mask) quorum.Mask {
	found := make([]bool, len(to.members))
	inParallel(len(to.members), func(at int) func() {
		if known.Has(at) {
			return nil
		}
		return func() {
			r := n.askFor(ctx, s, to.members[at], kv.Op{Verb: kv.Get, Key: e.Key, Blind: true})
			found[at] = r.Err == nil && r.Entry.Version == e.Version
		}
	})
	for at, does := range found {
		if does {
			known = known.With(at)
		}
	}
	return known
}
