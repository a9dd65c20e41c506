package antientropy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// errListing is what a replica did wrong that does not keep the promise of
// List.
var errListing = errors.New("the listing is not in the order of its keys")

// walk compares a partition entry by entry, and gives to the streams what one
// replica lacks.
func (x *exchange) walk(ctx context.Context, partition int, ofA, ofB *Digest) error {
	switch {
	case ofA.Empty():
		return x.pour(ctx, partition, x.toA)
	case ofB.Empty() && x.toB == nil:
		return nil
	case ofB.Empty():
		return x.pour(ctx, partition, x.toB)
	}
	only := differing(ofA, ofB)
	a := &cursor{r: x.a, opts: &x.opts, partition: partition, only: only}
	b := &cursor{r: x.b, opts: &x.opts, partition: partition, only: only}
	return x.merge(ctx, a, b)
}

// pour moves all that a replica has of a partition, to one that has nothing.
func (x *exchange) pour(ctx context.Context, partition int, into *stream) error {
	c := &cursor{r: into.src, opts: &x.opts, partition: partition, only: allBuckets, values: true}
	for {
		e, err := c.peek(ctx)
		if e == nil || err != nil {
			return err
		}
		if into.closed() {
			return x.abandon(ctx, partition)
		}
		into.offer(ctx, partition, e)
		c.skip()
		if x.hopeless(ctx) {
			return x.abandon(ctx, partition)
		}
	}
}

// merge runs through two listings of a partition at once.
func (x *exchange) merge(ctx context.Context, a, b *cursor) error {
	for {
		eb, err := b.peek(ctx)
		if err != nil {
			return err
		}
		if eb == nil && x.toB == nil {
			return nil // the rest of a is none of a Pull's business
		}
		ea, err := a.peek(ctx)
		if err != nil {
			return err
		}
		if ea == nil && eb == nil {
			return nil
		}
		order := compareKeys(ea, eb)
		if order >= 0 && (order > 0 || eb.Supersedes(ea)) {
			x.toA.want(ctx, a.partition, eb.Key)
		}
		if x.toB != nil && order <= 0 && (order < 0 || ea.Supersedes(eb)) {
			x.toB.want(ctx, a.partition, ea.Key)
		}
		if order <= 0 {
			a.skip()
		}
		if order >= 0 {
			b.skip()
		}
		if x.hopeless(ctx) {
			return x.abandon(ctx, a.partition)
		}
	}
}

// compareKeys orders two entries by key; nil is behind all.
func compareKeys(a, b *kv.Entry) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return bytes.Compare(a.Key, b.Key)
}

// cursor runs through what a replica lists of a partition, as far as it is in
// some buckets.
type cursor struct {
	r         Replica
	opts      *Options
	partition int
	only      buckets
	values    bool

	page []kv.Entry // what is left of the last page
	from []byte     // where the next one begins
	last []byte     // the last key that was listed
	end  bool       // there is no next page
}

// peek returns the next entry, or nil at the end.
func (c *cursor) peek(ctx context.Context) (*kv.Entry, error) {
	for {
		for len(c.page) > 0 && !c.only.has(c.page[0].Key) {
			c.skip()
		}
		if len(c.page) > 0 {
			return &c.page[0], nil
		}
		if c.end {
			return nil, nil
		}
		if err := c.load(ctx); err != nil {
			return nil, fmt.Errorf("list partition %d of %s: %w", c.partition, c.r.Name(), err)
		}
	}
}

// skip goes on behind the entry that peek returned.
func (c *cursor) skip() { c.page = c.page[1:] }

// load lists the next page.
func (c *cursor) load(ctx context.Context) error {
	page, next, err := c.r.List(ctx, c.partition, c.from, c.values)
	if err != nil {
		return err
	}
	size := 0
	for i := range page {
		key := page[i].Key
		if bytes.Compare(key, c.from) < 0 || c.last != nil && bytes.Compare(key, c.last) <= 0 {
			return errListing
		}
		c.last = key
		size += sizeOf(&page[i])
	}
	c.last = slices.Clone(c.last) // or it would keep the whole page
	if c.end = len(next) == 0; !c.end && bytes.Compare(next, c.from) <= 0 {
		return errListing // it would never end
	}
	c.page, c.from = page, next
	return c.opts.wait(ctx, size)
}
