package antientropy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// How much a stream holds at most: entries and bytes of a batch, and how many
// keys it asks for while it does not know how large their values are.
const (
	batchEntries = 1000
	batchBytes   = 1 << 20
	firstFetch   = 64
)

// stream moves entries from one replica to another, in batches. A nil stream
// moves nothing.
type stream struct {
	x        *exchange
	src, dst Replica
	fetch    int // how many keys to ask for at once: a batch's worth, by what came last

	keys []wanted // to be fetched
	// batch is to be applied; of has the partition of each of its entries.
	batch []kv.Entry
	of    []int
	bytes int

	unread, failing int // failures of src to give and of dst to take, since the last success
}

// wanted is a key whose entry dst lacks.
type wanted struct {
	partition int
	key       []byte
}

func newStream(x *exchange, src, dst Replica) *stream {
	return &stream{x: x, src: src, dst: dst, fetch: firstFetch}
}

// idle reports whether nothing waits to be moved.
func (s *stream) idle() bool { return s == nil || len(s.keys) == 0 && len(s.batch) == 0 }

// closed reports whether nothing can be moved any more.
func (s *stream) closed() bool {
	return s == nil || s.unread >= maxFailures || s.failing >= maxFailures
}

// want asks for the entry of a key.
func (s *stream) want(ctx context.Context, partition int, key []byte) {
	if s.closed() {
		s.x.undone[partition] = true
		return
	}
	s.keys = append(s.keys, wanted{partition, slices.Clone(key)}) // the key may be part of a whole page
	if len(s.keys) >= s.fetch {
		s.get(ctx)
	}
}

// offer moves an entry, with its value.
func (s *stream) offer(ctx context.Context, partition int, e *kv.Entry) {
	size := sizeOf(e)
	if len(s.batch) >= batchEntries || len(s.batch) > 0 && s.bytes+size > batchBytes {
		s.apply(ctx)
	}
	s.batch, s.of = append(s.batch, *e), append(s.of, partition)
	s.bytes += size
}

// flush moves all that waits, or gives it up where that is hopeless.
func (s *stream) flush(ctx context.Context) {
	if s == nil {
		return
	}
	s.get(ctx)
	s.apply(ctx)
}

// get fetches the entries of the keys that wait.
func (s *stream) get(ctx context.Context) {
	for len(s.keys) > 0 && !s.closed() && ctx.Err() == nil {
		asked := s.keys[:min(len(s.keys), s.fetch)]
		keys := make([][]byte, len(asked))
		for i := range asked {
			keys[i] = asked[i].key
		}
		found, errs := s.src.Get(ctx, keys)
		if len(found) == 0 || len(found) > len(keys) || len(found) != len(errs) {
			err := fmt.Errorf("got %d entries and %d errors of %d keys", len(found), len(errs), len(keys))
			s.unread++
			s.failKeys(asked, err)
			s.keys = s.keys[len(asked):]
			continue
		}
		s.take(ctx, asked[:len(found)], found, errs)
		s.keys = s.keys[len(found):]
	}
	for _, k := range s.keys {
		s.x.undone[k.partition] = true
	}
	s.keys = nil
}

// take offers what was fetched.
func (s *stream) take(ctx context.Context, asked []wanted, found []kv.Entry, errs []error) {
	size := 0
	var failed []wanted
	var failure error
	for i := range found {
		switch {
		case errors.Is(errs[i], kv.ErrNotFound): // it is gone since it was listed
		case errs[i] != nil:
			failed, failure = append(failed, asked[i]), errs[i]
		default:
			size += sizeOf(&found[i])
			s.offer(ctx, asked[i].partition, &found[i])
		}
	}
	if failure != nil {
		s.failKeys(failed, failure)
	}
	if len(failed) == len(found) {
		s.unread++ // the replica cannot be asked
		return
	}
	s.unread = 0
	s.adjust(len(found), size)
	if err := s.x.opts.wait(ctx, size); err != nil {
		s.failKeys(asked, err)
	}
}

// adjust makes the next fetch as large as a batch, if its entries are like
// those of the last. It grows slowly, for they may not be.
func (s *stream) adjust(entries, size int) {
	fit := batchBytes / max(size/entries, 1)
	s.fetch = max(min(fit, 2*s.fetch, batchEntries), 1)
}

func (s *stream) failKeys(keys []wanted, err error) {
	of := make([]int, len(keys))
	for i := range keys {
		of[i] = keys[i].partition
	}
	s.x.fail(fmt.Errorf("fetch from %s: partition %s: %w", s.src.Name(), name(of), err), of...)
}

// apply gives the batch to dst.
func (s *stream) apply(ctx context.Context) {
	if len(s.batch) > 0 {
		s.applyAll(ctx, s.batch, s.of)
	}
	s.batch, s.of, s.bytes = nil, nil, 0
}

// applyAll gives entries to dst. Where it is one of them that cannot be
// applied, it finds that one by halving.
func (s *stream) applyAll(ctx context.Context, entries []kv.Entry, of []int) {
	if s.failing >= maxFailures || ctx.Err() != nil { // what was fetched is applied even where src is gone
		for _, p := range of {
			s.x.undone[p] = true
		}
		return
	}
	held, err := s.dst.Apply(ctx, entries)
	refused := errors.Is(err, kv.ErrConflict)
	switch half := len(entries) / 2; {
	case (err == nil || refused) && len(held) == len(entries):
		s.count(entries, of, held)
	case refused && half == 0:
		s.count(entries, of, []kv.Version{{}})
	case half > 0 && (refused || ofOneEntry(err)):
		s.applyAll(ctx, entries[:half], of[:half])
		s.applyAll(ctx, entries[half:], of[half:])
	case err == nil:
		s.failEntries(of, fmt.Errorf("got %d versions of %d entries", len(held), len(entries)))
	default:
		s.failEntries(of, err)
	}
}

// ofOneEntry reports whether an error of Apply may be that of a single entry,
// while the replica takes others.
func ofOneEntry(err error) bool {
	return errors.Is(err, kv.ErrTooLarge) || errors.Is(err, kv.ErrFull)
}

func (s *stream) failEntries(of []int, err error) {
	s.failing++
	s.x.fail(fmt.Errorf("apply to %s: partition %s: %w", s.dst.Name(), name(of), err), of...)
}

// count notes what became of entries that were applied.
func (s *stream) count(entries []kv.Entry, of []int, held []kv.Version) {
	moved, taken, size := &s.x.moved, 0, 0
	for i := range entries {
		switch e := &entries[i]; held[i].Compare(e.Version) {
		case -1:
			moved.Refused = append(moved.Refused, slices.Clone(e.Key))
			s.x.undone[of[i]] = true
			s.x.changed[of[i]] = true
		case 0:
			taken++
			size += sizeOf(e)
			s.x.changed[of[i]] = true
		}
	}
	moved.Entries += taken
	moved.Bytes += int64(size)
	s.failing = 0
	if s.x.opts.Progress != nil && taken > 0 {
		s.x.opts.Progress(size, taken)
	}
}

// name names the partitions of a batch, which come in their order.
func name(of []int) string {
	first, last := of[0], of[len(of)-1]
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, last)
}
