package node

import (
	"context"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// The clock never goes back, also not over a restart: its ceiling is saved ahead
// of use, and a later process begins there.
const (
	// ceilingName is what the ceiling is saved under in the node's store.
	ceilingName = "clock"
	// ceilingAhead is how far ahead of the clock the ceiling is, so that few
	// saves are needed, and a node that was killed is not far ahead of the others
	// when it is back.
	ceilingAhead = 4 * time.Second
	// ceilingEvery is how often it is raised.
	ceilingEvery = time.Second
)

// beginClock has the clock begin where an earlier process of this store has
// ended at the latest, and saves the first ceiling.
func beginClock(ctx context.Context, meta kv.Metadata, clock *kv.Clock) error {
	if meta == nil {
		return nil
	}
	var ms int64
	known, err := loadFact(ctx, meta, ceilingName, "the clock", &ms)
	if err != nil {
		return err
	}
	if known {
		clock.Begin(ms)
	}
	return raiseCeiling(ctx, meta, clock)
}

// raiseCeiling saves a ceiling above the clock, and then lets the clock use it.
func raiseCeiling(ctx context.Context, meta kv.Metadata, clock *kv.Clock) error {
	last := kv.Version{Time: clock.Last()}.Wall().UnixMilli()
	ms := max(clock.Now(), last) + ceilingAhead.Milliseconds()
	if err := saveFact(ctx, meta, ceilingName, "the clock", ms); err != nil {
		return err
	}
	clock.Limit(ms)
	return nil
}

// readings reserves n consecutive readings of the clock and returns the first.
// Where the clock has jumped to its ceiling, as it does when a machine wakes up,
// that is raised first. The error is kv.ErrClockCeiling.
func (n *Node) readings(ctx context.Context, count int) (uint64, error) {
	first, err := n.clock.Next(count)
	if err == nil {
		return first, nil
	}
	if meta, ok := n.store.(kv.Metadata); ok {
		if raised := raiseCeiling(ctx, meta, n.clock); raised != nil {
			return 0, fmt.Errorf("%s: %w: %w", n.cfg.Name, err, raised)
		}
		first, err = n.clock.Next(count)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", n.cfg.Name, err)
	}
	return first, nil
}

// keepClock raises the ceiling as time goes on, until ctx ends.
func (n *Node) keepClock(ctx context.Context) error {
	meta, ok := n.store.(kv.Metadata)
	if !ok {
		return nil
	}
	return n.every(ctx, ceilingEvery, "the clock's ceiling is not saved: writes will stop here",
		func(ctx context.Context) error { return raiseCeiling(ctx, meta, n.clock) })
}
