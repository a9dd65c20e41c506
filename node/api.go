package node

import (
	"errors"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// Errors of a node, beside those of packages kv and peer.
var (
	// ErrNotReady is returned while the node has not joined a cluster, knows
	// no ring, or is shutting down. Nothing was applied.
	ErrNotReady = errors.New("node not ready")
	// ErrBadCursor is returned for a listing cursor that no node gave out.
	ErrBadCursor = errors.New("bad cursor")
	// ErrBadNeed is returned for an operation that wants more replicas than its
	// key has. Nothing was applied.
	ErrBadNeed = kv.ErrBadNeed
	// ErrForeignStore is returned by New for a store that another node uses, or
	// has used.
	ErrForeignStore = errors.New("the store is another node's")
)

// Reply is what a node answers to an operation.
type Reply struct {
	kv.Result
	// Owner is the name of the node that owns the key; "" where no ring is
	// known.
	Owner string
}

// Record is one record of a bulk load.
type Record struct {
	Line        int64 // its number in the input, for reports
	Key, Value  []byte
	ContentType string
	Expires     int64 // as in kv.Entry
	Need        int   // as in kv.Op
}

// ListRequest asks for a page of the cluster's live keys.
type ListRequest struct {
	Prefix []byte
	Cursor string // "" begins; otherwise what the last page gave
	Limit  int    // entries a page
	Values bool   // whether the values are wanted
}

// Page is a page of a listing, in the order of (partition, key). An empty page
// need not be the last.
type Page struct {
	Entries  []Listed
	Cursor   string // asks for the next page
	Complete bool   // whether this page is the last
}

// Listed is one key of a listing. Value is nil where values were not asked
// for; Size is its length in bytes all the same.
type Listed struct {
	kv.Entry
	Size int
}

// ReplicaState is what one replica of a key holds.
type ReplicaState struct {
	Name  string
	HTTP  string
	Alive bool
	// State is live, deleted, expired, absent, or unknown where the replica
	// did not answer.
	State   string
	Version kv.Version
}

// Explanation says where a key lives.
type Explanation struct {
	Partition int
	Owner     string
	Replicas  []ReplicaState
	Ring      uint64
}

// Change is a change of the ring that is under way.
type Change struct {
	To         uint64
	WaitingFor []string // names of the nodes that it waits for
	// BytesToMove is about how much the nodes that answer fetch for it in all, and
	// BytesMoved how much of it they have.
	BytesToMove, BytesMoved int64
}

// MemberState is one node of the cluster, as the node asked sees it.
type MemberState struct {
	Name, HTTP, Peer, Gossip string
	Status                   string // alive, suspect, down, joining or leaving
	Weight                   int
	Zone                     string
	Partitions               int // that it owns
	Keys, Bytes              int64
	Software                 string // version of its binary
}

// Status is the state of the cluster, as the node asked sees it.
type Status struct {
	Cluster string
	Ring    uint64
	Change  *Change // nil where none is under way
	// Settled says that no data has to move and no replica is missing.
	Settled bool
	// Hints is how many entries the nodes that answer keep in mind for members
	// that have missed them.
	Hints int64
	// LastRepair is when this node has last found all its partitions to be the
	// same as the other replicas'; zero where it has not yet.
	LastRepair time.Time
	// UnderReplicated is how many partitions lack a replica because a member
	// is down.
	UnderReplicated int
	Members         []MemberState
}
