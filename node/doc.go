// Package node answers for one node of the cluster: it runs operations on the
// keys that the node owns, and takes every other to the node that does.
//
// It promises that a write which it reports as done is held by the owner of
// its key, that an operation is forwarded at most once, and that what could
// not be decided is reported as an error, never as absence.
//
// A request takes this path:
//
//	Do ── ring: who owns the key ─┬─ this node: coordinate ── kv.Store
//	                              └─ another: peer.Client ⇒ Serve ── coordinate ── kv.Store
package node
