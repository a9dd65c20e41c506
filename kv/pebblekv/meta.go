package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// LoadMeta implements [kv.Metadata].
func (s *Store) LoadMeta(ctx context.Context, name string) (data []byte, err error) {
	err = s.read(ctx, func(e *engine) (err error) {
		data, err = e.loadMeta(name)
		return err
	})
	return data, err
}

func (e *engine) loadMeta(name string) ([]byte, error) {
	e.metaMu.RLock()
	defer e.metaMu.RUnlock()
	data, closer, err := e.db.Get(metaKey(name))
	if errors.Is(err, pebble.ErrNotFound) {
		if err := e.trusted(); err != nil {
			return nil, err
		}
		return nil, kv.ErrNotFound
	}
	if err != nil {
		return nil, e.mapError("load "+name, err)
	}
	defer closer.Close()
	return bytes.Clone(data), e.trusted()
}

// SaveMeta implements [kv.Metadata]. It waits for the disk also with NoSync.
func (s *Store) SaveMeta(ctx context.Context, name string, data []byte) error {
	e, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer e.users.leave()
	if e.readOnly {
		return fmt.Errorf("%w: %s", kv.ErrFull, e.room.describe())
	}
	e.metaMu.Lock()
	defer e.metaMu.Unlock()
	if err := e.db.Set(metaKey(name), data, pebble.Sync); err != nil {
		return e.mapError("save "+name, err)
	}
	return e.trusted()
}
