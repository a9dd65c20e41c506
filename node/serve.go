package node

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

var _ peer.Handler = (*Node)(nil)

// Serve runs what another node asks of this one: as a replica, or as the
// coordinator. It never forwards.
func (n *Node) Serve(ctx context.Context, call *peer.Call) {
	if call.Lane == peer.ReplicaReads || call.Lane == peer.ReplicaWrites {
		n.share.serve(ctx, call)
		return
	}
	n.serveRouted(ctx, call.Ring, call.Read, call.Ops, call.Results)
}

// serveRouted coordinates operations whose sender knows these ring versions.
// One on a key of which this node is no replica has the error peer.ErrStale.
func (n *Node) serveRouted(ctx context.Context, ring, read uint64, ops []kv.Op, results []kv.Result) {
	a, err := n.admit(ctx, ring, read)
	if err != nil {
		failAll(results, err)
		return
	}
	defer a.release()
	n.runAll(ctx, a, ops, results)
}
