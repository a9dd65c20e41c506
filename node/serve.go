package node

import (
	"context"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

var _ peer.Handler = (*Node)(nil)

// Serve runs what another node asks of this one. It never forwards.
func (n *Node) Serve(ctx context.Context, call *peer.Call) {
	if call.Lane == peer.Local {
		f := newFetch(len(call.Ops))
		f.read(ctx, n, call.Ops)
		for i := range call.Results {
			call.Results[i] = kv.Result{Entry: f.found[i], Err: f.errs[i]}
		}
		return
	}
	n.serveOwned(ctx, call.Ring, call.Ops, call.Results)
}

// serveOwned runs operations that were routed here under ring version routed.
// One whose key this node does not own has the error peer.ErrNotOwner.
func (n *Node) serveOwned(ctx context.Context, routed uint64, ops []kv.Op, results []kv.Result) {
	s, err := n.admitAll(ctx, routed, ops)
	if err != nil {
		for i := range results {
			results[i] = kv.Result{Err: err}
		}
		return
	}
	defer s.Release()
	n.runAll(ctx, s, ops, results)
}

// admitAll acquires a state at least as new as the one that ops were routed
// by, under which this node may serve all those of them that it owns.
func (n *Node) admitAll(ctx context.Context, routed uint64, ops []kv.Op) (*topology.State, error) {
	for {
		s := n.keeper.Acquire()
		if s != nil && s.Version() >= routed && n.allOpen(s, ops) {
			return s, nil
		}
		if s != nil {
			s.Release()
		}
		if err := n.awaitOwn(ctx, s, routed); err != nil {
			return nil, err
		}
	}
}

// ringPatience is for how long the requests of other nodes wait at one that
// knows no ring, as after a restart.
const ringPatience = time.Second

func (n *Node) awaitOwn(ctx context.Context, s *topology.State, routed uint64) error {
	if s != nil {
		return n.awaitNewer(ctx, s, routed)
	}
	short, cancel := context.WithTimeout(ctx, ringPatience)
	defer cancel()
	if _, err := n.keeper.Wait(short, func(*topology.State) bool { return true }); err != nil {
		return fmt.Errorf("%s knows no ring yet: %w", n.cfg.Name, peer.ErrUnavailable)
	}
	return nil
}

func (n *Node) allOpen(s *topology.State, ops []kv.Op) bool {
	if s.Settled {
		return true
	}
	for i := range ops {
		if p := s.Ring.Partition(ops[i].Key); s.Owner(p) == s.Self && !s.Open(p) {
			return false
		}
	}
	return true
}
