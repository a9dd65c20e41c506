package pebblekv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// sweepPiece is how many expired entries are made tombstones in one batch.
const sweepPiece = 256

// sweeper is how far Expire has come.
type sweeper struct {
	mu sync.Mutex // serialises Expire

	fromMu sync.Mutex // guards all below
	// from is a key of the index before which there is none, so that nobody
	// needs to walk again over what has been removed.
	from    []byte
	lowered bool // since begin
}

// lower notes that a key was added to the index.
func (s *sweeper) lower(key []byte) {
	s.fromMu.Lock()
	defer s.fromMu.Unlock()
	if bytes.Compare(key, s.from) < 0 {
		s.from, s.lowered = bytes.Clone(key), true
	}
}

// bound returns where the index begins.
func (s *sweeper) bound() []byte {
	s.fromMu.Lock()
	defer s.fromMu.Unlock()
	if s.from == nil {
		return []byte{prefixExpiry}
	}
	return s.from // it is replaced as a whole
}

// begin returns where a sweep is to begin.
func (s *sweeper) begin() []byte {
	s.fromMu.Lock()
	s.lowered = false
	s.fromMu.Unlock()
	return s.bound()
}

// end notes that the key is the last that was removed since begin.
func (s *sweeper) end(key []byte) {
	s.fromMu.Lock()
	defer s.fromMu.Unlock()
	if !s.lowered {
		s.from = append(bytes.Clone(key), 0)
	}
}

// stageExpiry puts into a batch how the index of expiries changes when an
// entry takes the place of another. Either may be nil. It returns the key that it
// adds, if any.
func stageExpiry(batch *pebble.Batch, partition int, old, now *kv.Entry) (added []byte, err error) {
	indexed := func(e *kv.Entry) bool { return e != nil && !e.Deleted && e.Expires != 0 }
	if indexed(old) && (!indexed(now) || old.Expires != now.Expires) {
		if err := batch.Delete(appendExpiryKey(nil, old.Expires, partition, old.Key), nil); err != nil {
			return nil, err
		}
	}
	if indexed(now) {
		added = appendExpiryKey(nil, now.Expires, partition, now.Key)
		size := binary.AppendUvarint(nil, uint64(len(now.Key)+len(now.Value)))
		return added, batch.Set(added, size, nil)
	}
	return nil, nil
}

// Stats implements [kv.Counter]. It looks at the entries that have expired by
// now and are no tombstones yet, so it takes the longer the more there are.
// While the disk fails, and once the store is closed, it returns what it did
// last.
func (s *Store) Stats(now int64) kv.Stats {
	var st kv.Stats
	err := s.read(context.Background(), func(e *engine) (err error) {
		st, err = e.stats(now)
		return err
	})
	s.last.mu.Lock()
	defer s.last.mu.Unlock()
	if err == nil {
		s.last.stats = st
	}
	return s.last.stats
}

// lastStats is what Stats returned last.
type lastStats struct {
	mu    sync.Mutex // guards stats
	stats kv.Stats
}

func (e *engine) stats(now int64) (kv.Stats, error) {
	sum := e.ledger.load()
	it, err := e.expired(e.sweep.bound(), now)
	if err != nil {
		return kv.Stats{}, err
	}
	defer func() { _ = it.Close() }() // it.Error has been asked
	for ok := it.First(); ok; ok = it.Next() {
		size, _ := binary.Uvarint(it.Value())
		sum.keys--
		sum.bytes -= int64(size)
	}
	if err := it.Error(); err != nil {
		return kv.Stats{}, e.mapError("count", err)
	}
	return kv.Stats{
		Keys: sum.keys, Bytes: sum.bytes, Entries: sum.entries,
		Resident: int64(e.db.Metrics().DiskSpaceUsage()),
	}, nil
}

// expired iterates over the index of what has expired by now, from a bound on.
func (e *engine) expired(from []byte, now int64) (*pebble.Iterator, error) {
	bound := []byte{prefixExpiry + 1}
	if now < math.MaxInt64 {
		bound = appendExpiryTime(nil, now+1)
	}
	if bytes.Compare(from, bound) > 0 {
		from = bound
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: bound})
	if err != nil {
		return nil, e.mapError("read the index of expiries", err)
	}
	return it, nil
}

// Expire implements [kv.Expirer]. It finds what has expired in an index, so it
// costs nothing where nothing has.
func (s *Store) Expire(ctx context.Context, now int64, budget int) (int, error) {
	e, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer e.users.leave()
	if e.readOnly {
		return 0, nil
	}
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	swept := 0
	for budget > 0 {
		if err := ctx.Err(); err != nil {
			return swept, err
		}
		due, err := e.due(now, min(budget, sweepPiece))
		if err != nil || len(due) == 0 {
			return swept, err
		}
		budget -= len(due)
		// The last one is synced, and with it those before.
		last := budget == 0 || len(due) < sweepPiece
		n, err := e.sweepKeys(due, now, last && !e.noSync)
		if err != nil {
			return swept, err
		}
		e.sweep.end(due[len(due)-1])
		swept += n
		if last {
			break
		}
	}
	return swept, nil
}

// due returns the first keys of the index that have expired by now.
func (e *engine) due(now int64, most int) ([][]byte, error) {
	it, err := e.expired(e.sweep.begin(), now)
	if err != nil {
		return nil, err
	}
	defer func() { _ = it.Close() }() // it.Error has been asked
	var due [][]byte
	for ok := it.First(); ok && len(due) < most; ok = it.Next() {
		due = append(due, bytes.Clone(it.Key()))
	}
	if err := it.Error(); err != nil {
		return nil, e.mapError("read the index of expiries", err)
	}
	return due, e.trusted()
}

// sweepKeys makes tombstones of the entries that the keys of the index stand
// for, where those are still there, and returns how many.
func (e *engine) sweepKeys(due [][]byte, now int64, sync bool) (int, error) {
	w := works.Get().(*work)
	defer w.release()
	w.engine = e
	places := make([]place, len(due))
	for i, d := range due {
		_, _, key, err := parseExpiryKey(d)
		if err != nil {
			return 0, e.corrupt(err)
		}
		places[i].stripe = e.stripe(key)
	}
	w.lock(places)
	defer w.unlock()
	w.begin()
	defer w.closeBatch()
	swept := 0
	err := w.reading(func() (err error) {
		swept, err = w.sweepEach(due, now)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := w.commit(sync); err != nil {
		return 0, err
	}
	return swept, nil
}

func (w *work) sweepEach(due [][]byte, now int64) (swept int, err error) {
	for _, d := range due {
		did, err := w.sweepKey(d, now)
		if err != nil {
			return 0, err
		}
		if did {
			swept++
		}
	}
	return swept, nil
}

func (w *work) sweepKey(indexed []byte, now int64) (bool, error) {
	expires, partition, key, err := parseExpiryKey(indexed)
	if err != nil {
		return false, w.corrupt(err)
	}
	w.key = appendEntryKey(w.key[:0], partition, key)
	old, err := w.held()
	if err != nil {
		return false, err
	}
	if old == nil {
		return false, w.checkPurged(indexed)
	}
	if old.Deleted || old.Expires != expires || old.Live(now) {
		return false, nil // it was written in between, and the index with it
	}
	tombstone := kv.Entry{Key: key, Version: old.Version, Expires: old.Expires, Deleted: true}
	return true, w.stage(partition, old, &tombstone)
}

// checkPurged returns an error where a key of the index stands for an entry that
// is not there, and is there itself: one that was purged in between has gone
// with its entry.
func (w *work) checkPurged(indexed []byte) error {
	_, closer, err := w.db.Get(indexed)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return w.mapError("sweep", err)
	}
	defer closer.Close()
	return w.corrupt(errors.New("the index of expiries names an entry that is not there"))
}
