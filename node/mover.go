package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
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

	left, moved atomic.Int64 // partitions and bytes of the comparison under way

	mu       sync.Mutex              // guards what follows
	version  uint64                  // of the ring that compared is about
	compared map[int]map[uint64]bool // by partition, the identities it was compared with
}

// newMover returns a mover that init completes.
func newMover() *mover { return &mover{woken: make(chan struct{}, 1)} }

// init completes m, once the rest of its node is there.
func (m *mover) init(n *Node) {
	m.n = n
	m.options.Progress = func(bytes, _ int) { m.moved.Add(int64(bytes)) }
	if r := n.cfg.TransferRate; r > 0 {
		m.options.Limit = rate.NewLimiter(rate.Limit(r), int(min(r, 4<<20)))
	}
	if scanner, ok := n.store.(kv.Scanner); ok {
		m.repairer = antientropy.NewRepairer(
			antientropy.Config{Interval: n.cfg.RepairEvery, Random: rand.Float64, Options: m.options}, m,
			antientropy.Local{Replica: &ownReplica{n.share}, Trees: n.share.trees, Store: scanner},
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
	group.Go(func() error {
		tick := time.NewTicker(moveEvery)
		defer tick.Stop()
		for {
			m.n.replayHints(ctx)
			m.n.settlePromises(ctx)
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
	return kv.Empty(ctx, m.n.store, partitions)
}

// Compare implements topology.Data.
func (m *mover) Compare(ctx context.Context, version uint64, tasks []topology.Task) error {
	if err := m.n.share.seal(ctx, version); err != nil {
		return err
	}
	if m.repairer == nil {
		return nil // a cache lists nothing: what moves here is a miss
	}
	m.begin(version, len(tasks))
	failed := map[uint64]error{}
	for {
		work, lacking := m.sources(tasks, failed)
		m.left.Store(int64(lacking.partitions))
		if len(work) == 0 {
			return lacking.error(failed)
		}
		if !m.pull(ctx, version, work, failed) {
			return errors.Join(ctx.Err(), errors.Join(slices.Collect(values(failed))...))
		}
	}
}

func values(failed map[uint64]error) func(func(error) bool) {
	return func(yield func(error) bool) {
		for _, err := range failed {
			if !yield(err) {
				return
			}
		}
	}
}

// begin forgets what was compared for another version.
func (m *mover) begin(version uint64, tasks int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left.Store(int64(tasks))
	if m.version != version {
		m.version, m.compared = version, map[int]map[uint64]bool{}
		m.moved.Store(0)
	}
}

// source is a member, and the partitions that are to be compared with it.
type source struct {
	member     *ring.Member
	partitions []int
}

// lack is what cannot be compared for now.
type lack struct {
	partitions int // that are not done
	stuck      int // of them, that nobody is left for
	group      topology.Group
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
		l.stuck, l.group.Need, names, errors.Join(slices.Collect(values(failed))...))
}

// sources chooses whom to compare the tasks' partitions with next, without
// those that have failed.
func (m *mover) sources(tasks []topology.Task, failed map[uint64]error) (map[uint64]*source, lack) {
	m.mu.Lock()
	defer m.mu.Unlock()
	work := map[uint64]*source{}
	var lacking lack
	for i := range tasks {
		p := tasks[i].Partition
		chosen, stuck := choose(&tasks[i], m.compared[p], failed)
		for _, member := range chosen {
			if work[member.Storage] == nil {
				work[member.Storage] = &source{member: member}
			}
			work[member.Storage].partitions = append(work[member.Storage].partitions, p)
		}
		if len(chosen) > 0 || stuck != nil {
			lacking.partitions++
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
	var pulling sync.WaitGroup
	s := m.n.keeper.State()
	for id, from := range work {
		pulling.Go(func() {
			other := &otherReplica{n: m.n, member: from.member, s: s, compare: version}
			moved, err := antientropy.Pull(ctx, &ownReplica{m.n.share}, other, from.partitions, m.options)
			m.keep(moved.Done, id)
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

// keep keeps in mind which partitions were compared with an identity.
func (m *mover) keep(partitions []int, with uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range partitions {
		if m.compared[p] == nil {
			m.compared[p] = map[uint64]bool{}
		}
		m.compared[p][with] = true
	}
	m.left.Store(max(0, m.left.Load()-int64(len(partitions))))
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
		other := &otherReplica{n: m.n, member: to.member, s: s}
		moved, err := antientropy.Pull(ctx, other, &ownReplica{m.n.share}, to.partitions, m.options)
		if err != nil {
			return err
		}
		if len(moved.Done) < len(to.partitions) {
			return fmt.Errorf("%s has not taken all of %d partitions", to.member.Name, len(to.partitions))
		}
	}
	return m.Empty(ctx, partitions)
}

// Partitions implements antientropy.Work.
func (m *mover) Partitions() []int {
	s := m.n.keeper.State()
	if s == nil {
		return nil
	}
	var held []int
	for p := range s.Ring.Partitions() {
		if m.n.coordinates(s, p) {
			held = append(held, p)
		}
	}
	return held
}

// Pairs implements antientropy.Work. While the ring changes there are none:
// whoever is to hold what is compared for that already.
func (m *mover) Pairs() []antientropy.Pair {
	s := m.n.keeper.State()
	if s == nil || !s.Confirmed || !s.Settled() {
		return nil
	}
	members := s.Ring.Members()
	shared := make([][]int, len(members))
	for p := range s.Ring.Partitions() {
		replicas := s.Ring.Replicas(p)
		if !slices.Contains(replicas, s.Self) {
			continue
		}
		for _, at := range replicas {
			if at != s.Self {
				shared[at] = append(shared[at], p)
			}
		}
	}
	var pairs []antientropy.Pair
	for at, partitions := range shared {
		if len(partitions) > 0 {
			pairs = append(pairs, antientropy.Pair{
				Remote:     &otherReplica{n: m.n, member: &members[at], s: s},
				Partitions: partitions,
			})
		}
	}
	return pairs
}
