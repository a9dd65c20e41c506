package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// How tombstones are dropped, so that nothing deleted comes back:
//
//  1. The owner of a partition has it done, while one ring version is live, with
//     what was deleted, or has expired, longer ago than the grace.
//  2. All replicas have to be there, and to hold the same of the partition. A
//     replica that is away keeps the tombstones, of whose keys it may hold more.
//  3. All raise the horizon of the partition: from then on they refuse what is
//     older and unknown to them, or known as dead before, however long it was on
//     its way. They save that before anything is dropped. It is part of what is
//     handed over with a partition.
//  4. Each drops exactly the versions that the owner has found. What fails is
//     found to differ, and comes back to all, as a tombstone.

const (
	// defaultGrace is longer than hints are kept.
	defaultGrace = 4 * time.Hour
	// graceParts is how often tombstones are looked for in a grace.
	graceParts = 8
	// droppedAtOnce is how many partitions are looked at together, and
	// maxDropped of how many tombstones of each.
	droppedAtOnce = 64
	maxDropped    = 128
	// dropPatience is how long other replicas have to answer.
	dropPatience = 5 * time.Second
)

// dropTombstones drops those that nobody needs any more in the partitions that
// this node owns. Its error is that of its own store.
func (n *Node) dropTombstones(ctx context.Context) error {
	if c, ok := n.store.(kv.Counter); ok {
		if st := c.Stats(n.clock.Now()); st.Entries == st.Keys {
			return nil // there are none
		}
	}
	before := n.clock.Now() - n.cfg.TombstoneGrace.Milliseconds()
	all := make([]int, n.cfg.Partitions)
	for p := range all {
		all[p] = p
	}
	var errs []error
	for chunk := range slices.Chunk(all, droppedAtOnce) {
		for len(chunk) > 0 && ctx.Err() == nil {
			var err error
			if chunk, err = n.dropIn(ctx, chunk, before); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// dropIn drops some tombstones of partitions that are from before a Unix
// millisecond, and returns the partitions that have more.
func (n *Node) dropIn(ctx context.Context, partitions []int, before int64) (more []int, err error) {
	s := n.keeper.State()
	if s == nil || n.Ready() != nil || !s.Settled() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*dropPatience)
	defer cancel()
	same, held, err := n.sameEverywhere(ctx, s, n.droppable(s, partitions))
	if err != nil {
		return nil, err
	}
	found, more, err := n.tombstones(ctx, same, before)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	same = slices.Sorted(maps.Keys(found))
	now, err := (&ownReplica{h: n.share}).Digests(ctx, same)
	if err != nil {
		return nil, err
	}
	for i, p := range same {
		if was := held[p]; !was.Alike(&now[i]) {
			delete(found, p) // some of it may be here only
		}
	}
	a, err := n.admit(ctx, 0, 0)
	if err != nil {
		return nil, nil //nolint:nilerr // it is not ready any more
	}
	defer a.release()
	if a.s.Version() != s.Version() || !a.s.Settled() {
		return nil, nil
	}
	in := horizonRequest{Ring: s.Version(), Time: kv.Reading(before)}
	if in.Partitions, err = n.raiseEverywhere(ctx, s, slices.Sorted(maps.Keys(found)), in); err != nil {
		return nil, err
	}
	if n.dropEverywhere(ctx, s, found, in.Partitions) == 0 {
		return nil, nil // or it would never end
	}
	return more, nil
}

// droppable returns those of the partitions that this node owns, and all of whose
// replicas can be reached.
func (n *Node) droppable(s *topology.State, partitions []int) (out []int) {
	members := s.Ring.Members()
	for _, p := range partitions {
		replicas := s.Ring.Replicas(p)
		if replicas[0] == s.Self && !slices.ContainsFunc(replicas[1:], func(at int) bool {
			_, err := n.peers.to(&members[at])
			return err != nil
		}) {
			out = append(out, p)
		}
	}
	return out
}

// others returns the partitions to which all of their other replicas say yes. Each
// is asked about those that it holds.
func (n *Node) others(s *topology.State, partitions []int, ask func(m *ring.Member, partitions []int) (yes []int)) []int {
	members := s.Ring.Members()
	of := make([][]int, len(members))
	for _, p := range partitions {
		for _, at := range s.Ring.Replicas(p) {
			of[at] = append(of[at], p)
		}
	}
	said := make([][]int, len(members))
	inParallel(len(members), func(at int) func() {
		if at == s.Self || len(of[at]) == 0 {
			return nil
		}
		return func() { said[at] = ask(&members[at], of[at]) }
	})
	count := map[int]int{}
	for _, p := range slices.Concat(said...) {
		count[p]++
	}
	return slices.DeleteFunc(partitions, func(p int) bool { return count[p] < len(s.Ring.Replicas(p))-1 })
}

// sameEverywhere returns the partitions of which all replicas hold the same, and
// what this node holds.
func (n *Node) sameEverywhere(
	ctx context.Context, s *topology.State, partitions []int,
) (same []int, held map[int]antientropy.Digest, err error) {
	own, err := (&ownReplica{h: n.share}).Digests(ctx, partitions)
	if err != nil {
		return nil, nil, err
	}
	held = make(map[int]antientropy.Digest, len(own))
	for i, p := range partitions {
		held[p] = own[i]
	}
	ctx, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	same = n.others(s, partitions, func(m *ring.Member, partitions []int) (yes []int) {
		digests, err := (&otherReplica{n: n, member: m, s: s}).Digests(ctx, partitions)
		if err != nil || len(digests) != len(partitions) {
			return nil
		}
		for i, p := range partitions {
			if mine := held[p]; mine.Alike(&digests[i]) {
				yes = append(yes, p)
			}
		}
		return yes
	})
	return same, held, nil
}

// tombstones returns a Drop of each of this node's tombstones that are from before
// a Unix millisecond, by partition, and which partitions have more.
func (n *Node) tombstones(ctx context.Context, partitions []int, before int64) (found map[int][]kv.Op, more []int, err error) {
	found = map[int][]kv.Op{}
	horizon := kv.Reading(before)
	for _, p := range partitions {
		err := n.store.(kv.Scanner).Scan(ctx, p, nil, func(e *kv.Entry) bool {
			if e.Version.Time >= horizon || e.Live(before) || e.Expires >= before {
				return true
			}
			if len(found[p]) == maxDropped {
				more = append(more, p)
				return false
			}
			found[p] = append(found[p], kv.Op{Verb: kv.Drop, Key: bytes.Clone(e.Key), Version: e.Version})
			return true
		})
		if err != nil {
			return nil, nil, fmt.Errorf("look for tombstones: %w", err)
		}
	}
	return found, more, nil
}

// raiseEverywhere has all replicas raise horizons, this node last, and returns the
// partitions of which all have.
func (n *Node) raiseEverywhere(ctx context.Context, s *topology.State, partitions []int, in horizonRequest) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	raised := n.others(s, partitions, func(m *ring.Member, partitions []int) []int {
		in := in
		in.Partitions = partitions
		client, err := n.peers.to(m)
		if err != nil || client.Ask(ctx, horizonQuestion, in, nil) != nil {
			return nil
		}
		return partitions
	})
	if len(raised) == 0 {
		return nil, nil
	}
	in.Partitions = raised
	return raised, n.share.raiseHorizons(ctx, in)
}

// dropEverywhere has all replicas drop what was found in partitions, and returns
// how many they have.
func (n *Node) dropEverywhere(ctx context.Context, s *topology.State, found map[int][]kv.Op, partitions []int) (dropped int) {
	var ops []kv.Op
	var to []reach
	for _, p := range partitions {
		all, err := reachOf(s, p, kv.All, n.id)
		if err != nil {
			continue
		}
		for _, op := range found[p] {
			ops, to = append(ops, op), append(to, all)
		}
	}
	r := n.newRound(s, ops, to, nil)
	r.run(ctx)
	for i := range ops {
		if _, err := r.outcome(ctx, i); err == nil {
			dropped++
		}
	}
	if len(ops) > 0 {
		n.logger.Debug("tombstones were dropped", "dropped", dropped, "tried", len(ops))
	}
	return dropped
}
