package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// horizonsName is what the horizons are saved under in the node's store.
const horizonsName = "horizons"

// horizons says of each partition up to which time of a version tombstones may
// have been dropped. An older entry of which this node knows nothing may have been
// deleted long ago, and come late. It is refused like one that is older than a
// promise: a replica that holds it, or a read that meets it, has what the key holds
// given a new stamp. The clock is above all horizons, so nothing new is refused.
type horizons struct {
	meta  kv.Metadata
	clock *kv.Clock
	grace int64 // of tombstones, in milliseconds

	highest atomic.Uint64   // of times
	times   []atomic.Uint64 // by partition; 0: nothing was dropped

	// dropping is held alone while tombstones are dropped, and shared by those
	// who apply what is older than a horizon, from their look at what is held.
	dropping sync.RWMutex

	saving  sync.Mutex // guards what follows; held while times change and are saved
	unsaved bool       // times have changed, and could not be saved
}

// newHorizons returns the horizons that an earlier process has left.
func newHorizons(ctx context.Context, meta kv.Metadata, clock *kv.Clock, partitions int, grace time.Duration) (*horizons, error) {
	h := &horizons{meta: meta, clock: clock, grace: grace.Milliseconds(), times: make([]atomic.Uint64, partitions)}
	var saved []uint64
	if known, err := loadFact(ctx, meta, horizonsName, "the horizons", &saved); err != nil || !known {
		return h, err
	}
	if len(saved) > 0 && len(saved) != partitions { // none where the store was reset
		return nil, fmt.Errorf("load the horizons: %w: of %d partitions, there are %d", kv.ErrCorrupt, len(saved), partitions)
	}
	for p, time := range saved {
		h.set(p, time)
	}
	return h, nil
}

// of returns the horizon of a partition.
func (h *horizons) of(partition int) uint64 { return h.times[partition].Load() }

// set sets a horizon. Nothing is stamped any more that it would refuse, should
// the clock be behind it.
func (h *horizons) set(partition int, time uint64) {
	if time > h.highest.Load() {
		h.clock.Begin(kv.Version{Time: time}.Wall().UnixMilli())
		h.highest.Store(time)
	}
	h.times[partition].Store(time)
}

// raise makes the horizons of partitions at least to, which counts at once, and
// lasts once save has returned.
func (h *horizons) raise(to map[int]uint64) {
	h.saving.Lock()
	defer h.saving.Unlock()
	for p, time := range to {
		if h.of(p) < time {
			h.set(p, time)
			h.unsaved = true
		}
	}
}

// save saves the horizons where they have changed.
func (h *horizons) save(ctx context.Context) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	return h.saveChanges(ctx)
}

// reset takes back the horizons of partitions of which this node holds nothing
// any more. They come with the entries when a partition comes again.
func (h *horizons) reset(ctx context.Context, partitions []int) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	for _, p := range partitions {
		if h.of(p) > 0 {
			h.set(p, 0)
			h.unsaved = true
		}
	}
	return h.saveChanges(ctx)
}

// saveChanges is save where saving is held.
func (h *horizons) saveChanges(ctx context.Context) error {
	if !h.unsaved {
		return nil
	}
	all := make([]uint64, len(h.times))
	for p := range all {
		all[p] = h.of(p)
	}
	err := saveFact(ctx, h.meta, horizonsName, "the horizons", all)
	h.unsaved = err != nil
	return err
}
