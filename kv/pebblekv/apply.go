package pebblekv

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// A call of Apply is committed in pieces of at most so many keys and bytes,
	// so that what it takes of memory does not depend on its size. One entry
	// may be larger.
	pieceKeys  = 4096
	pieceBytes = 2 << 20
	// overhead is about what an entry takes beside its key and value.
	overhead = 64
)

// Apply implements [kv.Store]. Where ctx ends, it returns ctx's error between
// two pieces of a large call; it does not end a wait for the disk. A value that
// there is no room for does not keep it from the entries behind.
func (s *Store) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	clear(done)
	e, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer e.users.leave()
	b := works.Get().(*work)
	defer b.release()
	b.engine, b.entries, b.done = e, entries, done
	return b.apply(ctx)
}

// work is what one Apply works on, or one Purge: then the entries are keys and
// versions only.
type work struct {
	*engine
	entries []kv.Entry
	done    []kv.Applied // of an Apply; may be nil
	purged  []bool       // of a Purge; may be nil

	places []place
	locks  []uint32         // the stripes of a piece, sorted
	key    []byte           // of the database, for the entry at hand
	value  []byte           // the same
	before *pebble.Iterator // while reading
	batch  *pebble.Batch
	delta  counts
	// soonest is the first key that the piece adds to the index of expiries.
	soonest []byte
	full    error // the first refusal for want of room
}

// place is where an entry belongs.
type place struct {
	index     int32 // in entries
	partition int32
	stripe    uint32
}

var works = sync.Pool{New: func() any { return new(work) }}

func (w *work) release() {
	if cap(w.value) > pieceBytes || cap(w.places) > 4*pieceKeys {
		return // too large to be kept
	}
	w.engine, w.entries, w.done, w.purged, w.batch, w.full = nil, nil, nil, nil, nil, nil
	works.Put(w)
}

// apply applies the entries.
func (w *work) apply(ctx context.Context) error {
	return w.inPieces(ctx, (*work).applyKey)
}

// inPieces does something with the entries, sorted by key and those of a key as
// they came, in pieces. do stages it for each key.
func (w *work) inPieces(ctx context.Context, do func(*work, []place) error) error {
	if w.readOnly {
		return fmt.Errorf("%w: %s", kv.ErrFull, w.room.describe())
	}
	w.sort()
	for rest := w.places; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := w.pieceLen(rest)
		if err := w.commitPiece(rest[:n], do); err != nil {
			for _, p := range rest[:n] {
				w.report(p.index, kv.Applied{})
				w.reportPurged(p.index, false)
			}
			return err
		}
		rest = rest[n:]
	}
	return w.full
}

func (w *work) report(index int32, done kv.Applied) {
	if w.done != nil {
		w.done[index] = done
	}
}

func (w *work) keyOf(p place) []byte { return w.entries[p.index].Key }

func (w *work) sort() {
	w.places = w.places[:0]
	for i := range w.entries {
		key := w.entries[i].Key
		w.places = append(w.places, place{
			index:     int32(i),
			partition: int32(kv.Partition(key, w.partitions)),
			stripe:    w.stripe(key),
		})
	}
	if len(w.places) == 1 {
		return
	}
	slices.SortFunc(w.places, func(a, b place) int {
		if a.partition != b.partition {
			return int(a.partition) - int(b.partition)
		}
		if c := bytes.Compare(w.keyOf(a), w.keyOf(b)); c != 0 {
			return c
		}
		return int(a.index) - int(b.index)
	})
}

// pieceLen returns how many of the places are one piece: all those of a key,
// or none.
func (w *work) pieceLen(places []place) int {
	size, keys := 0, 0
	for n := 0; n < len(places); keys++ {
		next, largest := n+w.runLen(places[n:]), 0
		for _, p := range places[n:next] {
			e := &w.entries[p.index]
			largest = max(largest, int(sizeOf(e)))
		}
		size += largest
		if n > 0 && (keys == pieceKeys || size > pieceBytes) {
			return n
		}
		n = next
	}
	return len(places)
}

// sizeOf returns about how many bytes an entry takes.
func sizeOf(e *kv.Entry) int64 { return int64(overhead + len(e.Key) + len(e.Value)) }

// runLen returns how many of the places, from the first on, have its key.
func (w *work) runLen(places []place) int {
	n := 1
	for n < len(places) && bytes.Equal(w.keyOf(places[n]), w.keyOf(places[0])) {
		n++
	}
	return n
}

// commitPiece does what becomes one batch of Pebble's, key by key.
func (w *work) commitPiece(places []place, do func(*work, []place) error) error {
	w.lock(places)
	defer w.unlock()
	w.batch = w.db.NewBatch()
	defer func() { _ = w.batch.Close() }() // it only gives back its memory
	w.delta, w.soonest = counts{}, nil
	err := w.reading(func() error { return w.eachKey(places, do) })
	if err != nil {
		return err
	}
	if err := w.commit(w.batch, w.delta, !w.noSync); err != nil {
		return err
	}
	if w.soonest != nil {
		w.sweep.lower(w.soonest) // now that a sweep can see it
	}
	return nil
}

// eachKey does something with the places of each key.
func (w *work) eachKey(places []place, do func(*work, []place) error) error {
	for len(places) > 0 {
		n := w.runLen(places)
		if err := do(w, places[:n]); err != nil {
			return err
		}
		places = places[n:]
	}
	return nil
}

// lock takes the stripes of the places, in the order in which all do.
func (w *work) lock(places []place) {
	w.locks = w.locks[:0]
	for _, p := range places {
		w.locks = append(w.locks, p.stripe)
	}
	slices.Sort(w.locks)
	w.locks = slices.Compact(w.locks)
	for _, i := range w.locks {
		w.stripes[i].Lock()
	}
}

func (w *work) unlock() {
	for _, i := range w.locks {
		w.stripes[i].Unlock()
	}
}

// applyKey offers entries of one key, in order, and puts the one that wins into
// the batch.
func (w *work) applyKey(places []place) error {
	p := places[0]
	w.key = appendEntryKey(w.key[:0], int(p.partition), w.keyOf(p))
	data, found, err := w.find()
	if err != nil {
		return w.mapError("read the entry before", err)
	}
	var now kv.Entry // what is held, as far as Supersedes needs it
	if found {
		if now.Version, now.Deleted, err = kv.Rank(data); err != nil {
			return w.corrupt(err)
		}
	}
	var winner *kv.Entry
	for _, p := range places {
		e := &w.entries[p.index]
		if winner != nil || found {
			if !e.Supersedes(&now) {
				w.report(p.index, kv.Applied{Held: now.Version, Was: now.Version})
				continue
			}
		}
		if err := w.room.admit(purposeOf(e), sizeOf(e)); err != nil {
			w.full = first(w.full, err)
			continue
		}
		w.report(p.index, kv.Applied{Held: e.Version, Was: now.Version})
		now, winner = *e, e
	}
	if winner == nil {
		return nil
	}
	var old *kv.Entry
	if found {
		parsed, err := kv.ParseEntry(data)
		if err != nil {
			return w.corrupt(err)
		}
		parsed.Key, old = winner.Key, &parsed
	}
	return w.stage(int(p.partition), old, winner)
}

// first returns the first of two errors that there is.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// stage puts into the batch all that goes with one entry taking the place of
// another. Either may be nil, but not both: there was none, or none is to be.
// The key is in w.key.
func (w *work) stage(partition int, old, now *kv.Entry) error {
	if err := w.stageEntry(now); err != nil {
		return w.mapError("write an entry", err)
	}
	w.delta.replace(old, now)
	added, err := stageExpiry(w.batch, partition, old, now)
	if err != nil {
		return w.mapError("write an expiry", err)
	}
	if added != nil && (w.soonest == nil || bytes.Compare(added, w.soonest) < 0) {
		w.soonest = added
	}
	if old != nil {
		w.garbage.bytes.Add(int64(len(old.Value) + overhead))
	}
	return nil
}

func (w *work) stageEntry(now *kv.Entry) error {
	if now == nil {
		return w.batch.Delete(w.key, nil)
	}
	w.value = kv.AppendEntry(w.value[:0], now)
	return w.batch.Set(w.key, w.value, nil)
}

// commit commits a batch with the counts that it changes.
func (e *engine) commit(batch *pebble.Batch, delta counts, sync bool) error {
	if delta != (counts{}) {
		if err := batch.Merge(countsKey, delta.append(nil), nil); err != nil {
			return e.mapError("write counts", err)
		}
	}
	if batch.Empty() {
		return e.trusted() // what stood in the way may not last
	}
	how := pebble.NoSync
	if sync {
		how = pebble.Sync
	}
	if err := e.db.Apply(batch, how); err != nil {
		return e.mapError("commit", err)
	}
	// The counts are right also where the batch may not last: then this
	// engine's are not used again.
	e.ledger.add(delta)
	return e.trusted()
}
