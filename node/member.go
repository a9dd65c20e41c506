package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// Errors of a node's place in the ring: those of package topology.
var (
	ErrMemberUp   = topology.ErrMemberUp   // Forget of a member that is up
	ErrNoMember   = topology.ErrNoMember   // Forget of what is no member
	ErrTooFew     = topology.ErrTooFew     // a majority, or the replicas that know all writes, would be gone
	ErrLastMember = topology.ErrLastMember // Leave of the only member
	ErrBusy       = topology.ErrBusy       // another change of the ring is under way
	ErrRemoved    = topology.ErrRemoved    // Run, where the cluster has gone on without this node's store: see Reset
	ErrSetBack    = topology.ErrSetBack    // Run, where the store is at an older state than others know it was
)

// ErrLostStore is returned by Run where the store has lost what it held, so that
// this node is not any more who the ring takes it for. The process may go on as
// another member, over a store that is opened anew.
var ErrLostStore = errors.New("the node's store is lost")

// Leave makes this node leave the ring. It returns as soon as that is under
// way: Left tells when what it held is handed over, and Status how far it is.
// Where it leaves already it does nothing. Its errors are ErrLastMember and
// ErrNotReady.
func (n *Node) Leave(context.Context) error {
	s := n.keeper.State()
	switch {
	case s == nil:
		return n.Ready()
	case s.Self >= 0 && len(s.Ring.Members()) == 1:
		return fmt.Errorf("leave: %w", ErrLastMember)
	}
	select {
	case n.leave <- struct{}{}:
	default:
	}
	return nil
}

// leaves leaves the ring when it is asked to, or ends with ctx.
func (n *Node) leaves(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.leave:
		}
		if err := n.keeper.Leave(ctx); err != nil && ctx.Err() == nil {
			n.logger.Warn("this node stays in the ring", "error", err)
		}
	}
}

// Left is closed when this node is out of the ring for good, and its process
// may end.
func (n *Node) Left() <-chan struct{} { return n.keeper.Left() }

// Forget removes a member that is down and will not come back, and returns
// when that is decided. With force it is removed also where that may lose
// data. Its errors are ErrMemberUp, ErrNoMember, ErrTooFew, ErrLastMember,
// ErrNotReady, ErrBusy and ctx's.
func (n *Node) Forget(ctx context.Context, name string, force bool) error {
	err := n.keeper.Forget(ctx, name, force)
	if errors.Is(err, topology.ErrNoRing) {
		return n.Ready()
	}
	return err
}

// Upkeep is what the metrics tell of a node's care for its replicas.
type Upkeep struct {
	Changing        bool  // a change of the ring is under way
	UnderReplicated int   // partitions that lack a replica
	Hints           int64 // what this node keeps in mind for members that have missed it
	Repaired        int64 // entries that this node has mended since it began, here or elsewhere
}

// Upkeep returns what this node knows without asking others.
func (n *Node) Upkeep() Upkeep {
	s := n.keeper.State()
	if s == nil {
		return Upkeep{}
	}
	up := Upkeep{
		Changing: !s.Settled(), Hints: n.hints.Count(), Repaired: n.repaired.Load(),
		UnderReplicated: underReplicated(s.Ring, absent(s.Ring, n.pool.View())),
	}
	if r := n.mover.repairer; r != nil {
		up.Repaired += int64(r.Stats().Entries)
	}
	return up
}

// absent reports of each member of a ring whether it is not there, or has come
// back with another store.
func absent(r *ring.Ring, view *membership.View) []bool {
	members := r.Members()
	out := make([]bool, len(members))
	for i := range members {
		seen, known := view.Find(members[i].Name)
		out[i] = !known || seen.Status == membership.Down || seen.Storage != members[i].Storage
	}
	return out
}
