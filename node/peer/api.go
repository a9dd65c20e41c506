package peer

import (
	"context"
	"errors"

	"github.com/thunderdb/thunderdb/kv"
)

// Errors of reaching a peer. They travel: a node that could not reach a third
// one answers with the same errors.
var (
	// ErrUnavailable is returned when the node that was needed did not answer:
	// it is down, unreachable or not ready. A write may have been applied.
	ErrUnavailable = errors.New("node unavailable")
	// ErrNotSent is returned together with ErrUnavailable, or with what else kept
	// a call from being sent, where it is certain that no part of it was: nothing
	// was applied. An error that tells of several nodes must not wrap it.
	ErrNotSent = errors.New("nothing was sent")
	// ErrStale is returned by a node that does not serve the key under the ring
	// version that it was asked under, for it or the sender knows a newer one.
	// Nothing was applied.
	ErrStale = errors.New("another ring version is in force")
	// ErrOverloaded is returned when too much waits for a peer already.
	// Nothing was sent.
	ErrOverloaded = errors.New("too many requests wait for the node")
	// ErrForeign is returned when the peer belongs to another cluster, or is
	// not the node, or not the life of it, that it was taken for.
	ErrForeign = errors.New("not a node of this cluster")
	// ErrClock is returned by a replica to a coordinator whose clock is more than
	// kv.MaxAhead ahead of its own. Nothing was applied.
	ErrClock = errors.New("clock too far ahead")
)

// Lane keeps apart the calls to one peer that must not wait for each other.
// Each lane is a connection of its own.
type Lane uint8

// The lanes. Their numbers are part of the protocol.
const (
	// Reads carries operations that the peer coordinates and that change
	// nothing.
	Reads Lane = 0
	// Writes carries those that change something, for they may wait for a
	// disk.
	Writes Lane = 1
	// ReplicaReads carries reads of the very entries that the peer holds.
	ReplicaReads Lane = 2
	// ReplicaWrites carries what a coordinator has the peer keep: Apply and
	// Promise.
	ReplicaWrites Lane = 3
)

// ofReplicas reports whether the lane carries what a coordinator asks of a
// replica. Serving that never asks a third node, and so it may be sent while
// serving the other lanes without waiting in a circle. For the same reason such
// calls do not wait for room in the queue: one that finds none fails at once.
func (l Lane) ofReplicas() bool { return l == ReplicaReads || l == ReplicaWrites }

// Call is a group of operations that travels to a peer in one piece.
type Call struct {
	Lane Lane
	// Ring is the newest ring version that the sender knows, and Read the one
	// that it reads under.
	Ring, Read uint64
	Ops        []kv.Op
	// Results has the length of Ops; whoever serves the call fills it.
	Results []kv.Result
}

// Handler is what a node does with what its peers ask.
type Handler interface {
	// Serve performs call.Ops, in order for each key, and fills call.Results.
	// Calls under the same ring versions may come as one. ctx ends at the call's
	// deadline. Values in the results need to stay
	// unchanged only until Serve is called again for the same call.
	Serve(ctx context.Context, call *Call)
	// Scan returns what this node holds of a range of partitions.
	Scan(ctx context.Context, req ScanRequest) (ScanPage, error)
}

// ScanRequest asks a node for entries it holds, tombstones and expired ones
// included, in the order of (partition, key).
type ScanRequest struct {
	Partition int    // where to begin
	From      []byte // the first key wanted in that partition
	Until     int    // the first partition no longer wanted
	Prefix    []byte // only keys that begin so
	Values    bool   // whether the values are wanted; without them Entry.Value is nil
	Limit     int    // entries to examine at most
	Bytes     int    // bytes to return at most; one entry is returned however large

	Ring, Read uint64 // as in a Call
	// Compare is the ring version that the scan is a comparison for; 0 is none.
	Compare uint64
}

// ScanPage is the answer to a ScanRequest.
type ScanPage struct {
	Entries []ScanEntry
	// Everything before (NextPartition, NextFrom) has been looked at. The scan
	// is complete where NextPartition is not below Until.
	NextPartition int
	NextFrom      []byte
}

// ScanEntry is an entry of a ScanPage.
type ScanEntry struct {
	kv.Entry
	Partition int
	Size      int // bytes of the value, also where it was not asked for
}
