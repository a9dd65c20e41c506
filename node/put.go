package node

import "github.com/thunderdb/thunderdb/kv"

// put returns the entry that a Put leaves in the place of the key's newest one.
func (n *Node) put(op *kv.Op, old *kv.Entry) kv.Entry {
	return kv.Entry{
		Key: op.Key, Value: op.Value, ContentType: op.ContentType, Expires: op.Expires,
		Version: n.stamp(old.Version),
	}
}
