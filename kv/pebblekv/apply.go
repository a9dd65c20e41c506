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
	sent   bool // the batch was, for it was not empty
	delta  counts
	// soonest is the first key that the piece adds to the index of expiries.
	soonest []byte
	full    error // the first refusal for want of room
	unread  error // the first failure to read what is held
}

// place is where an entry belongs.
type place struct {
	of        *work // whose entry it is
	index     int32 // in its entries
	order     int32 // of that work among those of a group
	partition int32
	stripe    uint32
}

var works = sync.Pool{New: func() any { return new(work) }}

func (w *work) release() {
	if cap(w.value) > pieceBytes || cap(w.places) > 4*pieceKeys {
		return // too large to be kept
	}
	w.engine, w.entries, w.done, w.purged, w.full, w.unread = nil, nil, nil, nil, nil, nil
	works.Put(w)
}

// apply applies the entries.
func (w *work) apply(ctx context.Context) error {
	return w.inPieces(ctx, (*work).applyPiece)
}

// inPieces commits the entries, sorted by key and those of a key as they came,
// in pieces.
func (w *work) inPieces(ctx context.Context, commit func(*work, []place) error) error {
	if w.readOnly {
		return fmt.Errorf("%w: %s", kv.ErrFull, w.room.describe())
	}
	w.place()
	for rest := w.places; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := w.pieceLen(rest)
		if err := commit(w, rest[:n]); err != nil {
			for _, p := range rest[:n] {
				w.report(p.index, kv.Applied{})
				w.reportPurged(p.index, false)
			}
			return err
		}
		if w.unread != nil {
			return w.unread
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

func (w *work) entry(p place) *kv.Entry { return &w.entries[p.index] }

func (p place) key() []byte { return p.of.entry(p).Key }

// place finds the places of the entries, and sorts them.
func (w *work) place() {
	w.places = w.places[:0]
	for i := range w.entries {
		key := w.entries[i].Key
		w.places = append(w.places, place{
			of:        w,
			index:     int32(i),
			partition: int32(kv.Partition(key, w.partitions)),
			stripe:    w.stripe(key),
		})
	}
	sortPlaces(w.places)
}

func sortPlaces(places []place) {
	slices.SortFunc(places, func(a, b place) int {
		if a.partition != b.partition {
			return int(a.partition) - int(b.partition)
		}
		if c := bytes.Compare(a.key(), b.key()); c != 0 {
			return c
		}
		if a.order != b.order {
			return int(a.order) - int(b.order)
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
			e := w.entry(p)
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
	for n < len(places) && bytes.Equal(places[n].key(), places[0].key()) {
		n++
	}
	return n
}

// applyKey offers entries of one key, in order, and puts the one that wins into
// the batch.
func (w *work) applyKey(places []place) error {
	p := places[0]
	w.key = appendEntryKey(w.key[:0], int(p.partition), p.key())
	old, err := w.held()
	if err != nil {
		for _, p := range places {
			p.of.unread = first(p.of.unread, err)
		}
		return nil
	}
	var now kv.Entry // what is held, as far as Supersedes needs it
	if old != nil {
		now = *old
	}
	var winner *kv.Entry
	for _, p := range places {
		e := p.of.entry(p)
		if (winner != nil || old != nil) && !e.Supersedes(&now) {
			p.of.report(p.index, kv.Applied{Held: now.Version, Was: now.Version})
			continue
		}
		if err := w.room.admit(purposeOf(e), sizeOf(e)); err != nil {
			p.of.full = first(p.of.full, err)
			continue
		}
		p.of.report(p.index, kv.Applied{Held: e.Version, Was: now.Version})
		now, winner = *e, e
	}
	if winner == nil {
		return nil
	}
	return w.stage(int(p.partition), old, winner)
}

// held returns the entry that is held under w.key, or nil. Its bytes are valid
// until another is looked for.
func (w *work) held() (*kv.Entry, error) {
	data, found, err := w.find()
	if err != nil {
		return nil, w.mapError("read the entry before", err)
	}
	if !found {
		return nil, nil
	}
	old, err := kv.ParseEntry(data)
	if err != nil {
		return nil, w.corrupt(err)
	}
	old.Key = w.key[entryHeader:]
	return &old, nil
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
