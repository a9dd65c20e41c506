package antientropy

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// The policy of an exchange:
//
//   - Digests are compared first, of many partitions in one call. What is alike
//     costs no more than that.
//   - A partition that differs is listed by both replicas, without values, and
//     the listings are merged by key. Where one of them holds nothing, the other
//     lists its values at once.
//   - Entries are fetched and applied in batches that may span partitions, so
//     that many small partitions do not cost a synced write each.
//   - A partition that fails does not keep the others from being done. Several
//     failures in succession mean that a replica is gone, and end the exchange;
//     where it only takes nothing any more, what it has is still moved.
//   - What is in memory is a page of each listing and a batch in each direction.
const (
	digestsAtOnce = 512
	maxFailures   = 3  // in succession
	maxWalked     = 64 // partitions whose entries wait for a full batch
	maxErrors     = 8  // that are returned
)

// Pull brings to up to what from holds of the partitions. The error joins those
// of the partitions that failed, each with the partition and the replica; what
// was moved before stays so and is in Moved.
func Pull(ctx context.Context, to, from Replica, partitions []int, opts Options) (Moved, error) {
	x := newExchange(to, from, opts)
	return x.run(ctx, partitions)
}

// Exchange brings a and b each up to what the other holds of the partitions,
// by one comparison. Its results are as those of Pull.
func Exchange(ctx context.Context, a, b Replica, partitions []int, opts Options) (Moved, error) {
	x := newExchange(a, b, opts)
	x.toB = newStream(x, a, b)
	return x.run(ctx, partitions)
}

// exchange is a Pull or an Exchange under way.
type exchange struct {
	opts    Options
	a, b    Replica
	toA     *stream
	toB     *stream // nil in a Pull
	moved   Moved
	changed map[int]bool
	undone  map[int]bool // partitions that failed, or have a refused entry
	walked  []int        // partitions that were compared; their entries may wait in a stream
	errs    []error
	more    int // further errors
	failing int // failures to compare since the last success
}

func newExchange(a, b Replica, opts Options) *exchange {
	x := &exchange{opts: opts, a: a, b: b, changed: map[int]bool{}, undone: map[int]bool{}}
	x.toA = newStream(x, b, a)
	return x
}

func (x *exchange) run(ctx context.Context, partitions []int) (Moved, error) {
	for chunk := range slices.Chunk(partitions, digestsAtOnce) {
		x.compare(ctx, chunk)
		x.settle(ctx)
		if x.hopeless(ctx) {
			break
		}
	}
	if err := ctx.Err(); err != nil && !errors.Is(errors.Join(x.errs...), err) {
		x.errs = append(x.errs, err)
	}
	if x.more > 0 {
		x.errs = append(x.errs, fmt.Errorf("%d more errors", x.more))
	}
	for p := range x.changed {
		x.moved.Changed = append(x.moved.Changed, p)
	}
	slices.Sort(x.moved.Changed)
	return x.moved, errors.Join(x.errs...)
}

// compare exchanges a chunk of partitions.
func (x *exchange) compare(ctx context.Context, chunk []int) {
	ofA, err := digests(ctx, x.a, chunk)
	if err != nil {
		x.failing++
		x.fail(err, chunk...)
		return
	}
	ofB, err := digests(ctx, x.b, chunk)
	if err != nil {
		x.failing++
		x.fail(err, chunk...)
		return
	}
	for i, p := range chunk {
		if ofA[i].Alike(&ofB[i]) {
			x.moved.Done = append(x.moved.Done, p)
			continue
		}
		if err := x.walk(ctx, p, &ofA[i], &ofB[i]); err != nil {
			x.failing++
			x.fail(err, p)
		} else {
			x.failing = 0
			x.walked = append(x.walked, p)
		}
		if len(x.walked) >= maxWalked || x.toA.idle() && x.toB.idle() {
			x.settle(ctx)
		}
		if x.hopeless(ctx) {
			return
		}
	}
}

func digests(ctx context.Context, r Replica, partitions []int) ([]Digest, error) {
	found, err := r.Digests(ctx, partitions)
	if err == nil && len(found) != len(partitions) {
		err = fmt.Errorf("got %d digests of %d partitions", len(found), len(partitions))
	}
	if err != nil {
		return nil, fmt.Errorf("digests of partition %d and %d more of %s: %w",
			partitions[0], len(partitions)-1, r.Name(), err)
	}
	return found, nil
}

// settle moves what waits in the streams. Partitions that were walked are done
// then, unless some of their entries could not be moved.
func (x *exchange) settle(ctx context.Context) {
	x.toA.flush(ctx)
	x.toB.flush(ctx)
	for _, p := range x.walked {
		if !x.undone[p] {
			x.moved.Done = append(x.moved.Done, p)
		}
	}
	x.walked = x.walked[:0]
}

// fail notes that these partitions are not done.
func (x *exchange) fail(err error, partitions ...int) {
	for _, p := range partitions {
		x.undone[p] = true
	}
	if len(x.errs) < maxErrors {
		x.errs = append(x.errs, err)
	} else {
		x.more++
	}
}

// hopeless reports whether the exchange must end here.
func (x *exchange) hopeless(ctx context.Context) bool {
	return x.failing >= maxFailures || x.toA.closed() && x.toB.closed() || ctx.Err() != nil
}

// abandon ends the walk of a partition before it is over. Why was noted
// already, but for ctx's end, which it returns.
func (x *exchange) abandon(ctx context.Context, partition int) error {
	x.undone[partition] = true
	return ctx.Err()
}
