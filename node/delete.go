package node

import "github.com/thunderdb/thunderdb/kv"

// delete returns the tombstone that a Delete leaves in the place of the key's
// newest entry. A key that is known to hold nothing, or to be deleted already,
// is left as it is.
func (n *Node) delete(op *kv.Op, old *kv.Entry, known bool) (kv.Entry, bool) {
	if known && (old.Version.IsZero() || old.Deleted) {
		return kv.Entry{}, false
	}
	return kv.Entry{Key: op.Key, Deleted: true, Version: n.stamp(old.Version)}, true
}
