package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// How a replica has its tombstones dropped: see tombstones.go for who says when.

// errNoDropping is what a node answers that cannot drop tombstones.
var errNoDropping = errors.New("the store cannot drop tombstones")

// pastHorizon reports whether any of the operations is older than a horizon.
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

// lateness returns an error where an entry must not be applied because it may
// have been deleted before it came. Its caller has horizons.dropping, shared.
func (h *share) lateness(ctx context.Context, op *kv.Op) error {
	p := h.keeper.State().Ring.Partition(op.Key)
	if op.Deleted || op.Version.Time >= h.horizons.of(p) || op.Expires != 0 && op.Expires <= h.now() {
		return nil // it brings nothing back
	}
	_, err := h.store.Get(ctx, op.Key, nil)
	if errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("%s may have dropped the tombstone of %q: %w", h.name, op.Key, kv.ErrConflict)
	}
	return err
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
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("read %s: %w", horizonQuestion, err)
	}
	if slices.ContainsFunc(in.Partitions, func(p int) bool { return p < 0 || p >= n.cfg.Partitions }) {
		return nil, fmt.Errorf("read %s: no such partition", horizonQuestion)
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
	to := make(map[int]uint64, len(in.Partitions))
	for _, p := range in.Partitions {
		to[p] = in.Time
	}
	held := h.fence.share(make([]kv.Op, 1)) // whoever seals this replica finds it raised, or not at all
	s := h.keeper.State()
	if s.RefusesWrite(in.Ring) {
		h.fence.release(held)
		return errStale(h.name, s)
	}
	err := h.horizons.raise(ctx, to)
	h.fence.release(held)
	if err == nil {
		h.fence.wait() // who has looked at the old ones has applied by then
	}
	return err
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
