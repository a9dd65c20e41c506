package pebblekv

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// Get implements [kv.Store]. A key that is just being written is waited for,
// unless the store is opened with NoSync. An ErrUnavailable says that the disk
// failed, and an ErrCorrupt what is damaged.
func (s *Store) Get(ctx context.Context, key, dst []byte) (entry kv.Entry, err error) {
	err = s.read(ctx, func(e *engine) (err error) {
		entry, err = e.get(key, dst)
		return err
	})
	return entry, err
}

func (e *engine) get(key, dst []byte) (kv.Entry, error) {
	room := scratches.Get().(*scratch)
	defer scratches.Put(room)
	room.key = appendEntryKey(room.key[:0], kv.Partition(key, e.partitions), key)
	if !e.noSync {
		defer e.readLock(key)()
	}
	data, closer, err := e.db.Get(room.key)
	if errors.Is(err, pebble.ErrNotFound) {
		if err := e.trusted(); err != nil {
			return kv.Entry{}, err
		}
		return kv.Entry{}, kv.ErrNotFound
	}
	if err != nil {
		return kv.Entry{}, e.mapError("get", err)
	}
	defer closer.Close()
	entry, err := kv.ParseEntry(data)
	if err != nil {
		return kv.Entry{}, e.corrupt(err)
	}
	if err := e.trusted(); err != nil {
		return kv.Entry{}, err
	}
	entry.Key = key
	entry.Value = append(dst[:0], entry.Value...)
	return entry, nil
}
