package node

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// delete leaves a tombstone, if the operation's condition holds. A key that
// nobody holds anything of, or that is deleted already, is left as it is.
func (n *Node) delete(ctx context.Context, s *topology.State, p int, op *kv.Op) kv.Result {
	return n.write(ctx, s, p, op, func(old *kv.Entry, known bool) (kv.Entry, bool) {
		if known && (old.Version.IsZero() || old.Deleted) {
			return kv.Entry{}, false
		}
		return kv.Entry{Key: op.Key, Deleted: true, Version: n.stamp(old.Version)}, true
	})
}
