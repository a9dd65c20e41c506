package node

import (
	"context"
	"errors"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
)

// What a replica holds of a key.
const (
	stateLive    = "live"
	stateDeleted = "deleted"
	stateExpired = "expired"
	stateAbsent  = "absent"
	stateUnknown = "unknown" // it did not answer
)

// Explain says where a key lives: on its owner, and on former owners that
// still hold it. Its error is ErrNotReady.
func (n *Node) Explain(ctx context.Context, key []byte) (Explanation, error) {
	s := n.keeper.State()
	if s == nil {
		return Explanation{}, n.Ready()
	}
	p := s.Ring.Partition(key)
	out := Explanation{Partition: p, Owner: s.MemberName(s.Owner(p)), Ring: s.Version()}
	for _, at := range s.Ring.Replicas(p) {
		out.Replicas = append(out.Replicas, n.replicaState(ctx, s, at, key))
	}
	for _, at := range s.Former(p) {
		if r := n.replicaState(ctx, s, at, key); r.State != stateAbsent {
			out.Replicas = append(out.Replicas, r)
		}
	}
	return out, nil
}

func (n *Node) replicaState(ctx context.Context, s *topology.State, at int, key []byte) ReplicaState {
	name := s.MemberName(at)
	seen, known := n.pool.View().Find(name)
	r := ReplicaState{
		Name: name, HTTP: seen.HTTP, State: stateUnknown,
		Alive: known && seen.Status != membership.Down,
	}
	var e kv.Entry
	var err error
	if at == s.Self {
		e, err = n.store.Get(ctx, key, nil)
	} else {
		e, err = n.heldBy(ctx, name, key)
	}
	switch {
	case errors.Is(err, kv.ErrNotFound):
		r.State = stateAbsent
	case err != nil:
		return r
	case e.Expired(n.clock.Now()):
		r.State = stateExpired
	case e.Deleted:
		r.State = stateDeleted
	default:
		r.State = stateLive
	}
	r.Version = e.Version
	return r
}
