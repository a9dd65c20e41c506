package httpapi

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/ring"
)

// Keys performs operations on keys, wherever they live. Its methods are safe
// for concurrent use.
type Keys interface {
	// Do performs op. The value of a Get is appended to dst[:0], or it is other
	// memory that stays as it is. Once Do has returned, whatever the error,
	// nothing but the reply refers to op, its bytes or dst any more: they are
	// used again.
	Do(ctx context.Context, op *kv.Op, dst []byte) node.Reply
	// DoAll performs ops and returns a reply for each, in their order. Those of
	// one key take effect in order. Nothing else is promised of the whole.
	DoAll(ctx context.Context, ops []kv.Op) []node.Reply
}

// Lister lists live keys. Its methods are safe for concurrent use.
type Lister interface {
	// List returns a page of the whole cluster's keys. The error is or wraps
	// node.ErrBadCursor, kv.ErrNoScan, node.ErrNotReady, or one of reaching a
	// peer.
	List(ctx context.Context, req node.ListRequest) (node.Page, error)
	// Snapshot calls visit for the live entries that this node holds, each once,
	// until visit returns false. The entry is valid during visit only.
	Snapshot(ctx context.Context, visit func(*kv.Entry) bool) error
}

// Load is one bulk load under way. Its methods but Close are safe for
// concurrent use.
type Load interface {
	// Add takes a record, copying its bytes. It blocks while too much waits. An
	// error means that the load as a whole cannot go on; what becomes of single
	// records is reported elsewhere.
	Add(rec node.Record) error
	// Stored and Failed count the records that were decided so far.
	Stored() int64
	Failed() int64
	// Close waits until every record taken is decided, and stored or reported.
	// An error means that this cannot be said of all.
	Close() error
}

// Cluster tells about the cluster and this node's place in it. Its methods are
// safe for concurrent use, before the node is ready too.
type Cluster interface {
	// Status returns the state of the cluster as this node sees it.
	Status(ctx context.Context) (node.Status, error)
	// Explain asks every replica of a key what it holds of it. One that does
	// not answer is no error.
	Explain(ctx context.Context, key []byte) (node.Explanation, error)
	// Ring returns the ring that requests are routed by, or nil where none is
	// known yet.
	Ring() *ring.Ring
	// Ready returns nil when the node serves, else an error with the reasons.
	Ready() error
	// Name returns the name of this node.
	Name() string
	// HTTPAddr returns the address of a member's HTTP listener, "" where it is
	// not known.
	HTTPAddr(member string) string
}

// Members changes who is in the cluster. Its methods are safe for concurrent
// use.
type Members interface {
	// Leave makes this node hand over what it holds and leave. It returns as
	// soon as that is under way; where it is already, it does nothing. The error
	// is or wraps node.ErrLastMember, node.ErrTooFew, node.ErrBusy or
	// node.ErrNotReady.
	Leave(ctx context.Context) error
	// Forget removes a member that is down, and returns when that is decided;
	// with force, where a majority is gone too. The error is or wraps
	// node.ErrMemberUp, node.ErrNoMember, node.ErrTooFew, node.ErrLastMember,
	// node.ErrBusy or node.ErrNotReady.
	Forget(ctx context.Context, name string, force bool) error
}

// Backend is what a Server serves. All fields are required.
type Backend struct {
	Keys    Keys
	Lister  Lister
	Cluster Cluster
	Members Members
	// Load begins a bulk load that ends early when ctx does. It calls report,
	// from any goroutine, for every record that was added and could not be
	// stored, and no more once Close has returned. report may block.
	Load func(ctx context.Context, report func(line int64, err error)) Load
}
