// Package node answers for one node of the cluster: it coordinates operations
// on the keys that it is a replica of, and takes every other to a node that is.
//
// It promises that a write which it reports as done is held by enough replicas
// under every ring version that may be read from, that a read returns what was
// acknowledged last or what came later, and that what could not be decided is
// reported as an error, never as absence and never as done.
//
// A request takes this path:
//
//	Do ── ring: who holds the key ─┬─ this node: coordinate
//	                               └─ another: peer.Client ⇒ Serve ── coordinate
//
//	coordinate ── quorum: how many ─┬─ this node: share ── kv.Store
//	                                └─ others: peer.Client ⇒ Serve ── share ── kv.Store
package node
