package antientropy

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/thunderdb/thunderdb/kv"
)

// Replica is a holder of entries: this node's store, or a peer. Its methods
// are called one at a time by each exchange, and by several exchanges at once.
// They end within bounded time, by themselves or with ctx. What they return is
// the caller's to keep.
type Replica interface {
	// Name is what errors call the replica.
	Name() string

	// Digests returns the digests of the partitions, in their order, at most
	// 512 at once. Each takes in every write that was acknowledged before the
	// call. One that the replica does not know is Unknown, and no error.
	Digests(ctx context.Context, partitions []int) ([]Digest, error)

	// List returns the entries of a partition whose keys are >= from, in the
	// order of their keys, and where to go on: nil at the end. A page has as
	// many entries as the replica sees fit; it may have none. Values and
	// content types are left out unless values is set.
	List(ctx context.Context, partition int, from []byte, values bool) (entries []kv.Entry, next []byte, err error)

	// Get returns the entries of keys. Both results have the same length: that
	// of keys, or less where it would be too much at once, but then at least 1;
	// they are of the first keys. The error of a key that the replica does not
	// hold is kv.ErrNotFound. Where it cannot be asked, all errors say so.
	Get(ctx context.Context, keys [][]byte) ([]kv.Entry, []error)

	// Apply offers entries, as kv.Store does, and returns the version that is
	// held under the key of each one afterwards. One that the replica has
	// promised to refuse is left out, and does not keep out the others; the
	// error is then nil or kv.ErrConflict, and what is held is an older version
	// or zero. On any other error, any part of entries may have been applied.
	Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error)
}

// Options say how to exchange. The zero Options are without limits.
type Options struct {
	// Limit, where it is not nil, is how many bytes a second may be listed and
	// fetched. Exchanges that run at once may share it.
	Limit *rate.Limiter
	// Progress, where it is not nil, is called after each batch of entries with
	// how much a replica has taken.
	Progress func(bytes, entries int)
}

// wait returns once n bytes may have been moved. Its error is ctx's, or that
// its deadline comes first.
func (o *Options) wait(ctx context.Context, n int) error {
	if o.Limit == nil || o.Limit.Limit() == rate.Inf {
		return ctx.Err()
	}
	for n > 0 {
		part := min(n, max(o.Limit.Burst(), 1)) // more at once is an error
		if err := o.Limit.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// Moved is what an exchange has done.
type Moved struct {
	// Entries and Bytes are how much the replicas have taken.
	Entries int
	Bytes   int64
	// Done are the partitions that need no further exchange: what their source
	// held when the exchange began is held by the other replica too, or is
	// superseded there. Those that are missing failed, or not all of their
	// entries were taken; another exchange goes on where this one was.
	Done []int
	// Changed are the partitions of which an entry was taken or refused.
	Changed []int
	// Refused are keys of entries that a replica refused, because it promised
	// to take none as old. Their partitions are not in Done.
	Refused [][]byte
}

// entryOverhead is about what an entry takes on the wire beside its key and
// value, in bytes.
const entryOverhead = 40

func sizeOf(e *kv.Entry) int {
	return len(e.Key) + len(e.Value) + len(e.ContentType) + entryOverhead
}
