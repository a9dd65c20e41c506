package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/topology"
)

var _ topology.Data = (*mover)(nil)

const (
	// moveEvery is how often the mover looks for hints that can be given, and for
	// promises that were not kept.
	moveEvery = time.Second
	// promiseAge is how old a promise is before its writer is taken for dead. It
	// is longer than any operation may take.
	promiseAge = 30 * time.Second
)

// mover brings entries to where they belong: for changes of the ring, from
// hints, and by comparing replicas in the background.
type mover struct {
	n        *Node
	options  antientropy.Options
	repairer *antientropy.Repairer // nil where the store cannot be scanned
	woken    chan struct{}         // capacity 1

	handover handover
}

// newMover returns a mover that init completes.
func newMover() *mover { return &mover{woken: make(chan struct{}, 1)} }

// init completes m, once the rest of its node is there.
func (m *mover) init(n *Node) {
	m.n = n
	if r := n.cfg.TransferRate; r > 0 {
		m.options.Limit = rate.NewLimiter(rate.Limit(r), int(min(r, 4<<20)))
	}
	if scanner, ok := n.store.(kv.Scanner); ok {
		m.repairer = antientropy.NewRepairer(
			antientropy.Config{Interval: n.cfg.RepairEvery, Random: rand.Float64, Options: m.options}, m,
			antientropy.Local{Replica: &ownReplica{h: n.share}, Trees: n.share.trees, Store: scanner},
			n.logger.Named("antientropy"))
	}
}

// wake has the mover look again soon: who has come back has missed something.
func (m *mover) wake() {
	if m.repairer != nil {
		m.repairer.Poke()
	}
	select {
	case m.woken <- struct{}{}:
	default:
	}
}

// run moves what there is to move until ctx ends.
func (m *mover) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if m.repairer != nil {
		group.Go(func() error { return m.repairer.Run(ctx) })
	}
	group.Go(func() error { // it may wait for replicas, which hints must not
		return m.n.every(ctx, moveEvery, "conditional writes that failed half-way are not settled yet", m.n.settlePromises)
	})
	if m.n.share.horizons != nil {
		group.Go(func() error {
			return m.n.every(ctx, m.n.cfg.TombstoneGrace/graceParts, "tombstones are not dropped for now", m.n.dropTombstones)
		})
	}
	group.Go(func() error {
		tick := time.NewTicker(moveEvery)
		defer tick.Stop()
		for {
			m.n.replayHints(ctx)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			case <-m.woken:
			}
		}
	})
	return group.Wait()
}

// Empty implements topology.Data.
func (m *mover) Empty(ctx context.Context, partitions []int) error {
	if len(partitions) == 0 {
		return nil
	}
	if m.repairer == nil {
		return forgetOutdated(ctx, m.n.store, partitions)
	}
	trees := m.n.share.trees
	for _, p := range partitions {
		trees.Begin(p)
		trees.Forget(p)
		defer trees.End(p)
	}
	if err := kv.Empty(ctx, m.n.store, partitions); err != nil || m.n.share.horizons == nil {
		return err
	}
	return m.n.share.horizons.reset(ctx, partitions)
}

// Clean implements topology.Data.
func (m *mover) Clean(ctx context.Context, s *topology.State, partitions []int) error {
	if m.repairer == nil {
		return leaveOutdated(ctx, m.n.store, partitions)
	}
	work := map[uint64]*source{}
	for _, p := range partitions {
		for _, at := range s.Ring.Replicas(p) {
			member := &s.Ring.Members()[at]
			if work[member.Storage] == nil {
				work[member.Storage] = &source{member: member}
			}
			work[member.Storage].partitions = append(work[member.Storage].partitions, p)
		}
	}
	for _, to := range work {
		other := &heir{otherReplica{n: m.n, member: to.member, s: s, horizons: map[int]uint64{}}}
		moved, err := antientropy.Pull(ctx, other, &ownReplica{h: m.n.share}, to.partitions, m.options)
		if err != nil {
			return err
		}
		if len(moved.Done) < len(to.partitions) {
			return fmt.Errorf("%s has not taken all of %d partitions", to.member.Name, len(to.partitions))
		}
	}
	return m.Empty(ctx, partitions)
}
