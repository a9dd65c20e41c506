package rediskv

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// LoadMeta implements [kv.Metadata].
func (s *Store) LoadMeta(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := s.do(ctx, "load metadata", func(ctx context.Context) (err error) {
		data, err = s.client.HGet(ctx, s.layout.root+"meta", name).Bytes()
		if errors.Is(err, redis.Nil) {
			err = s.missingMeta(ctx)
		}
		return err
	})
	return data, err
}

// missingMeta is missing, for metadata.
func (s *Store) missingMeta(ctx context.Context) error {
	holder, err := s.client.Get(ctx, s.layout.root+"lease").Result()
	if errors.Is(err, redis.Nil) || err == nil && holder != s.lease.holder {
		return errUnguarded
	}
	if err != nil {
		return err
	}
	return redis.Nil
}

// SaveMeta implements [kv.Metadata].
func (s *Store) SaveMeta(ctx context.Context, name string, data []byte) error {
	keys := []string{s.layout.root + "meta", s.layout.root + "lease"} // of one slot
	return s.do(ctx, "save metadata", func(ctx context.Context) error {
		return s.scripts.save.Run(ctx, s.client, keys, s.lease.holder, name, data).Err()
	})
}
