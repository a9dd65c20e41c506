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
//     older, alive, and unknown to them, however long it was on its way. They
//     save that before anything is dropped. It is part of what is handed over
//     with a partition.
//  4. Each drops exactly the versions that the owner has found. What fails is
//     found to differ, and comes back to all, as a tombstone.

const (
	// defaultGrace is longer than hints are kept.
	defaultGrace = 4 * time.Hour
	// graceParts is how often tombstones are looked for in a grace.
	graceParts = 8
	// droppedAtOnce is how many partitions are looked at together, and
	// maxDropped about how many of their tombstones are dropped.
	droppedAtOnce = 64
	maxDropped    = 4000
)

// dropTombstones drops those that nobody needs any more in the partitions that
// this node owns. Its error is that of its own store.
func (n *Node) dropTombstones(ctx context.Context) error {
	if c, ok := n.store.(kv.Counter); ok {
		if st := c.Stats(n.clock.Now()); st.Entries == st.Keys {
			return nil // there are none
		}
	}
	var errs []error
	all := make([]int, n.cfg.Partitions)
	for p := range all {
		all[p] = p
	}
	for chunk := range slices.Chunk(all, droppedAtOnce) {
		if err := n.dropIn(ctx, chunk); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return errors.Join(errs...)
}

// dropIn is dropTombstones of some partitions.
func (n *Node) dropIn(ctx context.Context, partitions []int) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	if n.Ready() != nil {
		return nil
	}
	a, err := n.admit(ctx, 0, 0)
	if err != nil {
		return nil //nolint:nilerr // it is not ready after all
	}
	defer a.release()
	if !a.s.Settled() {
		return nil
	}
	before := n.clock.Now() - n.cfg.TombstoneGrace.Milliseconds()
	found, err := n.tombstones(ctx, a.s, partitions, before)
	if err != nil || len(found) == 0 {
		return err
	}
	same, err := n.agree(a.s, slices.Collect(maps.Keys(found)), n.askDigests(ctx, a.s))
	if err != nil {
		return err
	}
	raised, err := n.agree(a.s, same, n.askHorizon(ctx, horizonRequest{Ring: a.s.Version(), Time: kv.Reading(before)}))
	if err != nil {
		return err
	}
	n.dropEverywhere(ctx, a.s, found, raised)
	return nil
}

// tombstones returns a Drop of each of this node's tombstones that are older than
// a Unix millisecond, by partition, of those that it owns.
func (n *Node) tombstones(ctx context.Context, s *topology.State, partitions []int, before int64) (map[int][]kv.Op, error) {
	found, count := map[int][]kv.Op{}, 0
	horizon := kv.Reading(before)
	for _, p := range partitions {
		if s.Ring.Replicas(p)[0] != s.Self || count >= maxDropped {
			continue
		}
		err := n.store.(kv.Scanner).Scan(ctx, p, nil, func(e *kv.Entry) bool {
			if e.Version.Time < horizon && !e.Live(before) && (e.Expires == 0 || e.Expires < before) {
				found[p] = append(found[p], kv.Op{Verb: kv.Drop, Key: bytes.Clone(e.Key), Version: e.Version})
				count++
			}
			return count < maxDropped
		})
		if err != nil {
			return nil, fmt.Errorf("look for tombstones: %w", err)
		}
	}
	return found, nil
}

// agree asks each replica of partitions about those that it holds, and returns
// the partitions to which all said yes. This node is asked first; its error is
// returned.
func (n *Node) agree(
	s *topology.State, partitions []int, ask func(m *ring.Member, partitions []int) (yes []int, err error),
) ([]int, error) {
	slices.Sort(partitions)
	members := s.Ring.Members()
	of := make([][]int, len(members))
	for _, p := range partitions {
		for _, at := range s.Ring.Replicas(p) {
			of[at] = append(of[at], p)
		}
	}
	said := map[int]int{} // by partition, how many said yes
	yes, err := ask(&members[s.Self], of[s.Self])
	if err != nil {
		return nil, err
	}
	for at := range of {
		if at != s.Self && len(of[at]) > 0 {
			more, err := ask(&members[at], of[at])
			if err != nil { // it is not there, or cannot
				more = nil
			}
			yes = append(yes, more...)
		}
	}
	for _, p := range yes {
		said[p]++
	}
	return slices.DeleteFunc(partitions, func(p int) bool { return said[p] < len(s.Ring.Replicas(p)) }), nil
}

// askDigests returns what asks for digests, and says yes to those that are like
// this node's, which has to be asked first.
func (n *Node) askDigests(ctx context.Context, s *topology.State) func(*ring.Member, []int) ([]int, error) {
	own := map[int]antientropy.Digest{}
	return func(m *ring.Member, partitions []int) (yes []int, err error) {
		var replica antientropy.Replica = &otherReplica{n: n, member: m, s: s}
		if m.Storage == n.id {
			replica = &ownReplica{h: n.share}
		}
		digests, err := replica.Digests(ctx, partitions)
		if err != nil || len(digests) != len(partitions) {
			return nil, err
		}
		for i, p := range partitions {
			if m.Storage == n.id {
				own[p] = digests[i]
			}
			if mine := own[p]; mine.Alike(&digests[i]) {
				yes = append(yes, p)
			}
		}
		return yes, nil
	}
}

// askHorizon returns what asks to raise horizons.
func (n *Node) askHorizon(ctx context.Context, in horizonRequest) func(*ring.Member, []int) ([]int, error) {
	return func(m *ring.Member, partitions []int) ([]int, error) {
		in := in
		in.Partitions = partitions
		if m.Storage == n.id {
			return partitions, n.share.raiseHorizons(ctx, in)
		}
		client, err := n.peers.to(m)
		if err != nil {
			return nil, err
		}
		return partitions, client.Ask(ctx, horizonQuestion, in, nil)
	}
}

// dropEverywhere has all replicas drop what was found in partitions.
func (n *Node) dropEverywhere(ctx context.Context, s *topology.State, found map[int][]kv.Op, partitions []int) {
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
	dropped := 0
	for i := range ops {
		if _, err := r.outcome(ctx, i); err == nil {
			dropped++
		}
	}
	if len(ops) > 0 {
		n.logger.Debug("tombstones were dropped", "dropped", dropped, "tried", len(ops))
	}
}
