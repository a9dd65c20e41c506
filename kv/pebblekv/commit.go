package pebblekv

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// commitPiece does what becomes one batch of Pebble's, key by key.
func (w *work) commitPiece(places []place, do func(*work, []place) error) error {
	defer w.unlock()
	defer w.closeBatch()
	if err := w.stagePiece(places, do); err != nil {
		return err
	}
	return w.commit(!w.noSync)
}

// stagePiece locks the places' keys, and puts into a new batch what is done for
// each key. The caller unlocks them and closes the batch, also after an error.
func (w *work) stagePiece(places []place, do func(*work, []place) error) error {
	w.lock(places)
	w.begin()
	return w.reading(func() error { return w.eachKey(places, do) })
}

// eachKey does something with the places of each key. It begins with the last:
// going forward, Pebble would first try the few entries behind the one before,
// which is in vain among many.
func (w *work) eachKey(places []place, do func(*work, []place) error) error {
	for len(places) > 0 {
		n := len(places) - 1
		for n > 0 && bytes.Equal(places[n-1].key(), places[n].key()) {
			n--
		}
		if err := do(w, places[n:]); err != nil {
			return err
		}
		places = places[:n]
	}
	return nil
}

// lock takes the stripes of the places, in the order in which all do.
func (w *work) lock(places []place) {
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
	w.locks = w.locks[:0]
}

// begin begins a batch.
func (w *work) begin() {
	w.batch, w.delta, w.soonest = w.db.NewBatch(), counts{}, nil
}

func (w *work) closeBatch() {
	if w.batch != nil {
		_ = w.batch.Close() // it only gives back its memory
		w.batch = nil
	}
}

// commit commits the batch with the counts that it changes.
func (w *work) commit(sync bool) error {
	if err := w.send(sync); err != nil {
		return err
	}
	return w.settle(sync)
}

// send lets Pebble show the batch, and write it to its log.
func (w *work) send(sync bool) error {
	if w.delta != (counts{}) {
		if err := w.batch.Merge(countsKey, w.delta.append(nil), nil); err != nil {
			return w.mapError("write counts", err)
		}
	}
	if w.sent = !w.batch.Empty(); !w.sent {
		return nil
	}
	var err error
	if sync {
		err = w.db.ApplyNoSyncWait(w.batch, pebble.Sync)
	} else {
		err = w.db.Apply(w.batch, pebble.NoSync)
	}
	if err != nil {
		return w.mapError("commit", err)
	}
	return nil
}

// settle waits until what was sent is synced, if it is to be.
func (w *work) settle(sync bool) error {
	if err := w.trusted(); err != nil {
		// The sync may never come, or still use the batch.
		w.batch = nil
		return err
	}
	if !w.sent {
		return nil
	}
	if sync {
		if err := w.batch.SyncWait(); err != nil {
			return w.mapError("commit", err)
		}
	}
	// The counts are right also where the batch may not last: then this
	// engine's are not used again.
	w.ledger.add(w.delta)
	if w.soonest != nil {
		w.sweep.lower(w.soonest) // now that a sweep can see it
	}
	return w.trusted()
}
