package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/handoff"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// hint keeps in mind that a replica has missed an entry which this node has
// given to others. It never counts as a replica.
func (n *Node) hint(m *ring.Member, partition int, op *kv.Op) {
	n.hints.Add(m.Storage, partition, op.Key, op.Version)
}

// replayHints gives the members that are up what they have missed. Hints for
// identities that are no member any more are dropped: whoever holds their
// partitions now has been compared.
func (n *Node) replayHints(ctx context.Context) {
	targets := n.hints.Targets()
	s := n.keeper.State() // not before: hints are for members of rings that are known
	if s == nil || !s.Confirmed {
		return
	}
	for _, target := range targets {
		m := memberOf(s, target)
		if m == nil {
			n.hints.Drop(target)
			continue
		}
		client, err := n.peers.to(m)
		if err != nil {
			continue
		}
		err = n.hints.Replay(ctx, target, func(ctx context.Context, batch []handoff.Hint) ([]bool, error) {
			return n.giveHinted(ctx, s, m, client, batch)
		})
		if err != nil {
			n.logger.Debug("hints are not given yet", "member", m.Name, "error", err)
		}
	}
}

// memberOf returns the member of a live ring version with a storage identity,
// or nil.
func memberOf(s *topology.State, storage uint64) *ring.Member {
	for _, live := range s.Live {
		members := live.Members()
		for i := range members {
			if members[i].Storage == storage {
				return &members[i]
			}
		}
	}
	return nil
}

// hintedBytes is about how much is given in one call.
const hintedBytes = 1 << 20

// giveHinted gives a member what this node holds now of the keys that hints
// name. It returns which of them are done with.
func (n *Node) giveHinted(
	ctx context.Context, s *topology.State, m *ring.Member, client *peer.Client, batch []handoff.Hint,
) ([]bool, error) {
	done := make([]bool, len(batch))
	g := giving{s: s, member: m, client: client, done: done}
	for i, h := range batch {
		e, err := n.store.Get(ctx, h.Key, nil)
		switch {
		case errors.Is(err, kv.ErrNotFound), !holds(s, m.Storage, h.Partition):
			done[i] = true
			continue
		case err != nil:
			return done, err
		}
		g.ops, g.at = append(g.ops, applyOf(&e, 0)), append(g.at, i)
		if g.size += len(e.Key) + len(e.Value); g.size < hintedBytes {
			continue
		}
		if err := g.send(ctx); err != nil {
			return done, err
		}
	}
	return done, g.send(ctx)
}

// giving is entries on their way to a member that has missed them.
type giving struct {
	s      *topology.State
	member *ring.Member
	client *peer.Client
	done   []bool // by hint
	ops    []kv.Op
	at     []int // by operation, the hint
	size   int
}

// send gives what has gathered.
func (g *giving) send(ctx context.Context) error {
	if len(g.ops) == 0 {
		return nil
	}
	call := peer.Call{Lane: peer.ReplicaWrites, Ring: g.s.Version(), Ops: g.ops, Results: make([]kv.Result, len(g.ops))}
	if err := g.client.Do(ctx, &call); err != nil {
		return err
	}
	var fault error
	for i, r := range call.Results {
		if g.done[g.at[i]] = r.Err == nil; r.Err != nil {
			fault = fmt.Errorf("give %q to %s: %w", g.ops[i].Key, g.member.Name, r.Err)
		}
	}
	g.ops, g.at, g.size = nil, nil, 0
	return fault
}

// holds reports whether an identity is a replica of a partition under a live
// ring version.
func holds(s *topology.State, storage uint64, partition int) bool {
	for _, live := range s.Live {
		for _, at := range live.Replicas(partition) {
			if live.Members()[at].Storage == storage {
				return true
			}
		}
	}
	return false
}
