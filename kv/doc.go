// Package kv is what a node keeps: versioned entries, the operations on them,
// and the stores that hold them.
//
// It promises that applying entries is idempotent and commutative: for each
// key a store ends up with the entry that [Entry.Supersedes] every other one
// it was given, in whatever order and however often they came.
package kv
