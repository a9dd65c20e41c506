package node

import (
	"context"
	"slices"

	"github.com/thunderdb/thunderdb/node/antientropy"
)

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

// Refused implements antientropy.Work: what some hold and others refuse is given
// a new stamp, as reads do.
func (m *mover) Refused(ctx context.Context, keys [][]byte) {
	for _, key := range keys {
		if err := m.n.settle(ctx, key); err != nil && ctx.Err() == nil {
			m.n.logger.Debug("a key is not repaired for now", "key", string(key), "error", err)
		}
	}
}
