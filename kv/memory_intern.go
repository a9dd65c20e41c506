package kv

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxInterned is how many values a dictionary numbers: as many as fit a
	// byte. Further ones stand in their records in full, so that clients who
	// make up content types do not grow the dictionary for ever.
	maxInterned = 256
	// maxInternedType is the longest content type, in bytes, that is numbered.
	maxInternedType = 128
)

// dictionary numbers what many records have in common.
type dictionary struct {
	types interner[string]
	nodes interner[uint64] // of versions
}

// typeID returns the number of a content type; ok is false where it has to be
// stored in full.
func (d *dictionary) typeID(name string) (id byte, ok bool) {
	if len(name) > maxInternedType {
		return 0, false
	}
	if id, ok = d.types.lookup(name); ok {
		return id, true
	}
	// The caller's string may be part of something large.
	return d.types.add(strings.Clone(name))
}

func (d *dictionary) nodeID(node uint64) (id byte, ok bool) {
	if id, ok = d.nodes.lookup(node); ok {
		return id, true
	}
	return d.nodes.add(node)
}

// interner numbers up to maxInterned values; the zero value is number 0. The
// numbers never change, and readers take no lock.
type interner[T comparable] struct {
	mu  sync.Mutex // serialises add
	now atomic.Pointer[interned[T]]
}

// interned is one immutable state of an interner.
type interned[T comparable] struct {
	ids    map[T]byte
	values []T
}

func (in *interner[T]) lookup(v T) (byte, bool) {
	var zero T
	if v == zero {
		return 0, true
	}
	state := in.now.Load()
	if state == nil {
		return 0, false
	}
	if len(state.values) > 1 && state.values[1] == v {
		return 1, true // most stores have one node, and one type above all
	}
	id, ok := state.ids[v]
	return id, ok
}

// value returns what lookup or add gave the number id for.
func (in *interner[T]) value(id byte) T {
	if id == 0 {
		var zero T
		return zero
	}
	return in.now.Load().values[id]
}

// add numbers v, or reports that all the numbers are taken.
func (in *interner[T]) add(v T) (byte, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	old := in.now.Load()
	if old == nil {
		old = &interned[T]{ids: map[T]byte{}, values: make([]T, 1)}
	}
	if id, ok := old.ids[v]; ok {
		return id, true
	}
	if len(old.values) == maxInterned {
		return 0, false
	}
	id := byte(len(old.values))
	next := &interned[T]{ids: maps.Clone(old.ids), values: append(old.values[:id:id], v)}
	next.ids[v] = id
	in.now.Store(next)
	return id, true
}
