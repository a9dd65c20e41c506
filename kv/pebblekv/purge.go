package pebblekv

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
)

// Purge implements [kv.Purger]. Like Apply, it returns ctx's error where ctx
// ends between two pieces of a large call, and waits for the disk as Apply does.
// On a full disk it is refused with ErrFull only once the store's reserve is
// nearly used up, or while the store is open for reading only.
func (s *Store) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	clear(purged)
	e, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer e.users.leave()
	w := works.Get().(*work)
	defer w.release()
	w.engine, w.purged = e, purged
	w.entries = make([]kv.Entry, len(refs))
	for i := range refs {
		w.entries[i] = kv.Entry{Key: refs[i].Key, Version: refs[i].Version}
	}
	return w.inPieces(ctx, func(w *work, places []place) error {
		return w.commitPiece(places, (*work).purgeKey)
	})
}

func (w *work) reportPurged(index int32, purged bool) {
	if w.purged != nil {
		w.purged[index] = purged
	}
}

// purgeKey puts into the batch that a key's entry goes, where it has one of the
// versions of places, which are of that key.
func (w *work) purgeKey(places []place) error {
	p := places[0]
	w.key = appendEntryKey(w.key[:0], int(p.partition), p.key())
	old, err := w.held()
	if err != nil || old == nil {
		return err
	}
	for _, p := range places {
		if w.entries[p.index].Version != old.Version {
			continue
		}
		if err := w.room.admit(forPurge, int64(len(old.Key)+overhead)); err != nil {
			w.full = first(w.full, err)
			return nil
		}
		w.reportPurged(p.index, true)
		return w.stage(int(p.partition), old, nil)
	}
	return nil
}
