package kv

import (
	"bytes"
	"context"
	"sync"
)

// metadata is the small facts that a Memory keeps.
type metadata struct {
	mu    sync.Mutex // guards facts
	facts map[string][]byte
}

// LoadMeta implements [Metadata].
func (m *Memory) LoadMeta(_ context.Context, name string) ([]byte, error) {
	if m.isClosed() {
		return nil, ErrClosed
	}
	m.meta.mu.Lock()
	defer m.meta.mu.Unlock()
	data, ok := m.meta.facts[name]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(data), nil
}

// SaveMeta implements [Metadata].
func (m *Memory) SaveMeta(_ context.Context, name string, data []byte) error {
	if m.isClosed() {
		return ErrClosed
	}
	m.meta.mu.Lock()
	defer m.meta.mu.Unlock()
	if m.meta.facts == nil {
		m.meta.facts = make(map[string][]byte)
	}
	m.meta.facts[name] = bytes.Clone(data)
	return nil
}

// isClosed reports whether the store is closed.
func (m *Memory) isClosed() bool {
	s := &m.shards[0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}
