package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// How a replica has its tombstones dropped: see tombstones.go for who says when.

// errNoDropping is what a node answers that cannot drop tombstones.
var errNoDropping = errors.New("the store cannot drop tombstones")

// horizon returns up to which time of a version nothing is taken of a key that
// this node knows nothing of.
func (h *share) horizon(key []byte) uint64 {
	if h.horizons == nil || h.horizons.highest.Load() == 0 {
		return 0
	}
	return h.horizons.of(h.keeper.State().Ring.Partition(key))
}

// pastHorizon reports whether any of the operations may be older than a horizon.
func (h *share) pastHorizon(ops []kv.Op) bool {
	if h.horizons == nil {
		return false
	}
	highest := h.horizons.highest.Load()
	for i := range ops {
		if ops[i].Version.Time < highest {
			return true
		}
	}
	return false
}

// refuseLate completes the results of those entries that must not be applied, for
// they may have been deleted before they came: they are older than the horizon,
// and there is nothing here that they would replace but what is dead. Tombstones are
// taken, and what has expired as long ago as what was dropped: neither brings
// anything back. Its caller has horizons.dropping, shared.
func (h *share) refuseLate(ctx context.Context, ops []kv.Op, results []kv.Result) {
	var at []int
	var asked []kv.Op
	now := h.horizons.clock.Now()
	for i := range ops {
		op := &ops[i]
		if op.Version.Time < h.horizon(op.Key) && !op.Deleted && (op.Expires == 0 || op.Expires > now-h.horizons.grace) {
			at, asked = append(at, i), append(asked, kv.Op{Verb: kv.Get, Key: op.Key, Blind: true})
		}
	}
	held := make([]kv.Result, len(asked))
	h.read(ctx, asked, held)
	for i, r := range held {
		op := &ops[at[i]]
		switch {
		case r.Err != nil && !errors.Is(r.Err, kv.ErrNotFound):
			results[at[i]] = kv.Result{Err: r.Err}
		case r.Err == nil && (r.Entry.Live(now) || r.Entry.Version.Compare(op.Version) >= 0):
		default:
			results[at[i]] = h.late(op.Key)
		}
	}
}

// late is the result of what is older than the horizon. Its entry's version is
// what has to be reached.
func (h *share) late(key []byte) kv.Result {
	return kv.Result{
		Entry: kv.Entry{Key: key, Version: kv.Version{Time: h.horizon(key)}},
		Err:   fmt.Errorf("%s takes nothing as old of %q any more, which may have been deleted since: %w", h.name, key, kv.ErrConflict),
	}
}

// horizonQuestion has a node raise horizons; takes a horizonRequest.
const horizonQuestion = "horizon"

type horizonRequest struct {
	Ring       uint64 `json:"ring"`
	Time       uint64 `json:"time,string"` // as in kv.Version
	Partitions []int  `json:"partitions"`
}

// answerHorizon answers a horizonQuestion.
func (n *Node) answerHorizon(ctx context.Context, raw json.RawMessage) (any, error) {
	var in horizonRequest
	if err := n.decode(horizonQuestion, raw, &in, &in.Partitions); err != nil {
		return nil, err
	}
	if err := n.share.know(ctx, in.Ring, 0); err != nil {
		return nil, err
	}
	return struct{}{}, n.share.raiseHorizons(ctx, in)
}

// raiseHorizons raises horizons. Once it has returned nil nothing is applied any
// more that they refuse.
func (h *share) raiseHorizons(ctx context.Context, in horizonRequest) error {
	if h.horizons == nil {
		return fmt.Errorf("%s: %w", h.name, errNoDropping)
	}
	latest := h.horizons.clock.Now() - h.horizons.grace + kv.MaxAhead.Milliseconds()
	if in.Time > kv.Reading(latest) {
		return fmt.Errorf("%s: a horizon that is not as old as the grace: %w", h.name, peer.ErrClock)
	}
	to := make(map[int]uint64, len(in.Partitions))
	for _, p := range in.Partitions {
		to[p] = in.Time
	}
	leave := h.fence.enter() // whoever seals this replica finds it raised, or not at all
	s := h.keeper.State()
	if s.RefusesWrite(in.Ring) {
		leave()
		return errStale(h.name, s)
	}
	h.horizons.raise(to)
	leave()
	h.fence.wait() // who has looked at the old ones has applied by then
	return h.horizons.save(ctx)
}

// drop drops entries, each where it is exactly of its operation's version, for a
// coordinator that knows a ring version.
func (h *share) drop(ctx context.Context, ring uint64, ops []kv.Op, results []kv.Result) {
	purger, ok := h.store.(kv.Purger)
	if h.horizons == nil || !ok {
		failAll(results, fmt.Errorf("%s: %w", h.name, errNoDropping))
		return
	}
	s := h.keeper.State()
	if s.RefusesWrite(ring) {
		failAll(results, errStale(h.name, s))
		return
	}
	refs, of := make([]kv.Ref, len(ops)), make([]int, len(ops))
	for i := range ops {
		refs[i], of[i] = kv.Ref{Key: ops[i].Key, Version: ops[i].Version}, s.Ring.Partition(ops[i].Key)
		if ops[i].Version.Time >= h.horizons.of(of[i]) {
			failAll(results, fmt.Errorf("%s: the tombstone of %q is not behind the horizon", h.name, ops[i].Key))
			return
		}
	}
	h.horizons.dropping.Lock()
	defer h.horizons.dropping.Unlock()
	for _, p := range of {
		h.trees.Begin(p)
	}
	purged := make([]bool, len(refs))
	err := purger.Purge(ctx, refs, purged)
	for i, p := range of {
		switch {
		case purged[i]:
			h.trees.Update(p, refs[i].Key, refs[i].Version, kv.Version{})
		case err != nil || h.repeats: // it may have been
			h.trees.Forget(p)
		}
		h.trees.End(p)
		results[i] = kv.Result{Err: err}
	}
}
