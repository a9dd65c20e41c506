package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// handover is how far this node is with comparing its partitions for a change
// of the ring.
type handover struct {
	moved atomic.Int64 // bytes that came here

	mu       sync.Mutex              // guards what follows
	version  uint64                  // of the ring that the rest is about
	coming   map[int]bool            // partitions that are new here and were not compared yet
	compared map[int]map[uint64]bool // by partition, the identities it was compared with
	horizons map[int]uint64          // by partition, the highest of theirs
}

// Compare implements topology.Data.
func (m *mover) Compare(ctx context.Context, version uint64, tasks []topology.Task) error {
	if err := m.n.share.seal(ctx, version); err != nil {
		return err
	}
	if m.repairer == nil {
		return nil // a cache lists nothing: what moves here is a miss
	}
	m.begin(version, tasks)
	failed := map[uint64]error{}
	for {
		work, lacking := m.sources(tasks, failed)
		if len(work) == 0 {
			if err := lacking.error(failed); err != nil {
				return err
			}
			return m.takeHorizons(ctx)
		}
		if !m.pull(ctx, version, work, failed) {
			return errors.Join(ctx.Err(), errors.Join(slices.Collect(maps.Values(failed))...))
		}
	}
}

// begin forgets what was compared for another version.
func (m *mover) begin(version uint64, tasks []topology.Task) {
	m.handover.mu.Lock()
	defer m.handover.mu.Unlock()
	if m.handover.version == version {
		return
	}
	m.handover.version, m.handover.compared = version, map[int]map[uint64]bool{}
	m.handover.horizons, m.handover.coming = map[int]uint64{}, map[int]bool{}
	m.handover.moved.Store(0)
	read := m.n.keeper.State().Read
	self := read.IndexOf(m.n.id)
	for i := range tasks {
		if p := tasks[i].Partition; self < 0 || !read.Holds(p, self) {
			m.handover.coming[p] = true
		}
	}
}

// progress returns the ring version that entries come here for, how many
// partitions are yet to come, and how many bytes have.
func (h *handover) progress() (version uint64, coming, moved int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version, int64(len(h.coming)), h.moved.Load()
}

// source is a member, and the partitions that are to be compared with it.
type source struct {
	member     *ring.Member
	partitions []int
}

// lack is what cannot be compared for now.
type lack struct {
	stuck int // partitions that nobody is left for
	group topology.Group
}

func (l *lack) error(failed map[uint64]error) error {
	if l.stuck == 0 {
		return nil
	}
	names := make([]string, len(l.group.Members))
	for i, m := range l.group.Members {
		names[i] = m.Name
	}
	return fmt.Errorf("%d partitions wait for %d of %v: %w",
		l.stuck, l.group.Need, names, errors.Join(slices.Collect(maps.Values(failed))...))
}

// sources chooses whom to compare the tasks' partitions with next, without
// those that have failed.
func (m *mover) sources(tasks []topology.Task, failed map[uint64]error) (map[uint64]*source, lack) {
	m.handover.mu.Lock()
	defer m.handover.mu.Unlock()
	work := map[uint64]*source{}
	var lacking lack
	for i := range tasks {
		p := tasks[i].Partition
		chosen, stuck := choose(&tasks[i], m.handover.compared[p], failed)
		for _, member := range chosen {
			if work[member.Storage] == nil {
				work[member.Storage] = &source{member: member}
			}
			work[member.Storage].partitions = append(work[member.Storage].partitions, p)
		}
		if stuck != nil {
			lacking.stuck++
			lacking.group = *stuck
		}
	}
	return work, lacking
}

// choose returns whom to compare a task's partition with next, given whom it
// was compared with; and a group that cannot be completed, or nil.
func choose(task *topology.Task, compared map[uint64]bool, failed map[uint64]error) (next []*ring.Member, stuck *topology.Group) {
	chosen := map[uint64]bool{}
	for i := range task.Groups {
		g := &task.Groups[i]
		missing := g.Need
		for at := range g.Members {
			if id := g.Members[at].Storage; compared[id] || chosen[id] {
				missing--
			}
		}
		for at := range g.Members {
			member := &g.Members[at]
			id := member.Storage
			if missing <= 0 || compared[id] || chosen[id] || failed[id] != nil {
				continue
			}
			chosen[id] = true
			next = append(next, member)
			missing--
		}
		if missing > 0 {
			stuck = g
		}
	}
	return next, stuck
}

// pull fetches from all sources at once what this node lacks, and keeps in mind
// what was compared and who has failed. It reports whether anything was done.
func (m *mover) pull(ctx context.Context, version uint64, work map[uint64]*source, failed map[uint64]error) bool {
	var mu sync.Mutex // guards failed, progress
	progress := false
	options := m.options
	options.Progress = func(bytes, _ int) { m.handover.moved.Add(int64(bytes)) }
	var pulling sync.WaitGroup
	s := m.n.keeper.State()
	for id, from := range work {
		pulling.Go(func() {
			other := &otherReplica{n: m.n, member: from.member, s: s, compare: version, horizons: map[int]uint64{}}
			own := &ownReplica{h: m.n.share, withPartition: true}
			moved, err := antientropy.Pull(ctx, own, other, from.partitions, options)
			m.keep(moved.Done, id, other.horizons)
			mu.Lock()
			defer mu.Unlock()
			progress = progress || len(moved.Done) > 0
			if err != nil || len(moved.Done) < len(from.partitions) {
				failed[id] = errors.Join(err, fmt.Errorf("%d of %d partitions were compared with %s",
					len(moved.Done), len(from.partitions), from.member.Name))
				progress = true // others may do instead
			}
		})
	}
	pulling.Wait()
	return progress && ctx.Err() == nil
}

// keep keeps in mind which partitions were compared with an identity, and what
// horizons it has.
func (m *mover) keep(partitions []int, with uint64, horizons map[int]uint64) {
	m.handover.mu.Lock()
	defer m.handover.mu.Unlock()
	for _, p := range partitions {
		if m.handover.compared[p] == nil {
			m.handover.compared[p] = map[uint64]bool{}
		}
		m.handover.compared[p][with] = true
		delete(m.handover.coming, p)
		m.handover.horizons[p] = max(m.handover.horizons[p], horizons[p])
	}
}

// takeHorizons makes this node's horizons those of whom it was compared with, now
// that it holds what is behind them.
func (m *mover) takeHorizons(ctx context.Context) error {
	if m.n.share.horizons == nil {
		return nil
	}
	m.handover.mu.Lock()
	to := maps.Clone(m.handover.horizons)
	m.handover.mu.Unlock()
	m.n.share.horizons.raise(to)
	m.n.share.fence.wait()
	return m.n.share.horizons.save(ctx)
}
