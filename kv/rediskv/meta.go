package rediskv

import "context"

// LoadMeta implements [kv.Metadata].
func (s *Store) LoadMeta(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := s.do(ctx, "load metadata", func(ctx context.Context) (err error) {
		data, err = s.client.HGet(ctx, s.layout.root+"meta", name).Bytes()
		return err
	})
	return data, err
}

// SaveMeta implements [kv.Metadata].
func (s *Store) SaveMeta(ctx context.Context, name string, data []byte) error {
	return s.do(ctx, "save metadata", func(ctx context.Context) error {
		keys := []string{s.layout.root + "meta", s.layout.root + "lease"} // of one slot
		return s.scripts.save.Run(ctx, s.client, keys, s.lease.holder, name, data).Err()
	})
}
