package node

import (
	"context"
	"fmt"

	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// admission is what the operations that this node coordinates run under. No
// newer ring version is acknowledged before it is released.
type admission struct {
	n *Node
	s *topology.State
}

// admit returns an admission under ring versions at least as new as those that
// a sender knows. Its caller releases it. The error is ErrNotReady, or
// peer.ErrUnavailable.
func (n *Node) admit(ctx context.Context, ring, read uint64) (*admission, error) {
	if err := n.share.know(ctx, ring, read); err != nil {
		if n.keeper.State() == nil {
			return nil, n.Ready()
		}
		return nil, err
	}
	return &admission{n: n, s: n.keeper.Acquire()}, nil
}

func (a *admission) release() { a.s.Release() }

// renew lets go of the state, and takes the one that a node knows which has
// refused it.
func (a *admission) renew(ctx context.Context, from string) error {
	a.s.Release()
	defer func() { a.s = a.n.keeper.Acquire() }()
	if err := a.n.learnFrom(ctx, from); err != nil {
		return fmt.Errorf("refresh the ring: %w: %s", peer.ErrUnavailable, err.Error())
	}
	return nil
}
