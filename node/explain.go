package node

import (
	"context"
	"errors"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// What a replica holds of a key.
const (
	stateLive    = "live"
	stateDeleted = "deleted"
	stateExpired = "expired"
	stateAbsent  = "absent"
	stateUnknown = "unknown" // it did not answer
)

// Explain says where a key lives, and what each of its replicas holds: those
// that are read first, the owner leading, then those that only another live
// ring version has. Its error is ErrNotReady.
func (n *Node) Explain(ctx context.Context, key []byte) (Explanation, error) {
	s := n.keeper.State()
	if s == nil {
		return Explanation{}, n.Ready()
	}
	p := s.Ring.Partition(key)
	to, err := reachOf(s, p, 0, n.id)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{
		Partition: p, Owner: to.members[0].Name, Ring: s.Version(),
		Replicas: make([]ReplicaState, len(to.members)),
	}
	key = slices.Clone(key)
	inParallel(len(to.members), func(i int) func() {
		return func() { out.Replicas[i] = n.replicaState(ctx, s, to.members[i], key) }
	})
	return out, nil
}

func (n *Node) replicaState(ctx context.Context, s *topology.State, m *ring.Member, key []byte) ReplicaState {
	seen, known := n.pool.View().Find(m.Name)
	r := ReplicaState{
		Name: m.Name, HTTP: seen.HTTP, State: stateUnknown,
		Alive: known && seen.Status != membership.Down,
	}
	held := n.askFor(ctx, s, m, kv.Op{Verb: kv.Get, Key: key})
	switch {
	case errors.Is(held.Err, kv.ErrNotFound):
		r.State = stateAbsent
	case held.Err != nil:
		return r
	case held.Entry.Expired(n.clock.Now()):
		r.State = stateExpired
	case held.Entry.Deleted:
		r.State = stateDeleted
	default:
		r.State = stateLive
	}
	r.Version = held.Entry.Version
	return r
}
