package rediskv

import (
	"bytes"
	"context"
	"sync"
)

// known is the metadata that this process has loaded or saved. Where a server
// loses everything while the node runs, the node is still who it is: it saves
// them again.
type known struct {
	mu    sync.Mutex // guards what follows
	facts map[string][]byte
	owed  bool // the server has lost them
}

// owe notes that the server has lost everything.
func (k *known) owe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owed = true
}

func (k *known) note(name string, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.facts == nil {
		k.facts = make(map[string][]byte)
	}
	k.facts[name] = bytes.Clone(data)
}

// saveAgain saves what is known of the metadata, where the server has lost them.
func (s *Store) saveAgain(ctx context.Context) error {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	if !s.known.owed {
		return nil
	}
	for name, data := range s.known.facts {
		if err := s.saveMeta(ctx, name, data); err != nil {
			return err
		}
	}
	s.known.owed = false
	return nil
}

// LoadMeta implements [kv.Metadata].
func (s *Store) LoadMeta(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := s.do(ctx, "load metadata", func(ctx context.Context) (err error) {
		data, err = s.client.HGet(ctx, s.layout.root+"meta", name).Bytes()
		return err
	})
	if err == nil {
		s.known.note(name, data)
	}
	return data, err
}

// SaveMeta implements [kv.Metadata].
func (s *Store) SaveMeta(ctx context.Context, name string, data []byte) error {
	err := s.do(ctx, "save metadata", func(ctx context.Context) error { return s.saveMeta(ctx, name, data) })
	if err == nil {
		s.known.note(name, data)
	}
	return err
}

func (s *Store) saveMeta(ctx context.Context, name string, data []byte) error {
	keys := []string{s.layout.root + "meta", s.layout.root + "lease"} // of one slot
	return s.scripts.save.Run(ctx, s.client, keys, s.lease.holder, name, data).Err()
}
