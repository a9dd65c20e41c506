package node

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// get reads a key. An entry that has expired is absent, as if it had never
// been; of a deleted one the tombstone is returned with the error.
func (n *Node) get(ctx context.Context, s *topology.State, p int, key, dst []byte) kv.Result {
	return n.shown(n.newest(ctx, s, p, key, dst))
}

// shown returns the result of reading a key whose newest entry is e.
func (n *Node) shown(e kv.Entry, err error) kv.Result {
	switch {
	case err != nil:
		return kv.Result{Err: err}
	case e.Expires != 0 && e.Expired(n.clock.Now()):
		return kv.Result{Err: kv.ErrNotFound}
	case e.Deleted:
		return kv.Result{Entry: e, Err: kv.ErrNotFound}
	}
	return kv.Result{Entry: e}
}
