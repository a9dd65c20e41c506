package kvtest_test

import (
	"context"
	"maps"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// sorted returns the entries' names in order. The lock is held.
func (s *simple) sorted() []string { return slices.Sorted(maps.Keys(s.entries)) }

func (s *simple) Scan(ctx context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	s.scans++
	defer func() { s.scans-- }()
	keys, before := s.sorted(), maps.Clone(s.entries)
	if s.has("scans in no order") {
		slices.Reverse(keys)
	}
	visited := 0
	for _, k := range keys {
		if s.closed || ctx.Err() != nil {
			return s.interrupted(ctx)
		}
		e := s.entries[k]
		switch {
		case partition != kv.Partition(e.Key, s.partitions()) || k < string(from),
			s.has("scans from behind") && k == string(from),
			s.has("scans no tombstones") && e.Deleted,
			s.has("scans nothing new") && e.Version != before[k].Version:
			continue
		}
		visited++
		if !s.visitOne(&e, visited, visit) && !s.has("scans on") || s.has("scans one page") && visited == 1000 {
			break
		}
	}
	return nil
}

// interrupted returns what a scan returns that ends before its end.
func (s *simple) interrupted(ctx context.Context) error {
	switch {
	case s.closed && s.has("cuts scans short at close"), !s.closed && s.has("cuts cancelled scans short"):
		return nil
	case s.closed:
		return kv.ErrClosed
	}
	return ctx.Err()
}

// visitOne visits the nth entry of a scan, and reports whether visit wants
// more.
func (s *simple) visitOne(e *kv.Entry, n int, visit func(*kv.Entry) bool) bool {
	switch {
	case s.has("scans an entry in two steps") && n%10 == 0:
		s.letOthersIn(1)
		if now := s.entries[s.name(e.Key)]; !now.Deleted && !e.Deleted {
			e.Value = now.Value
		}
	case s.has("visits the last of a page again") && n == 1001:
		again := s.page
		s.mu.Unlock()
		visit(&again)
		s.mu.Lock()
	}
	s.page = *e
	s.mu.Unlock()
	defer s.mu.Lock()
	return visit(e)
}

// simplePartitions is few, so that keys of one are soon found.
const simplePartitions = 16

func (s *simple) partitions() int {
	if s.has("has other partitions") {
		return simplePartitions + 1
	}
	return simplePartitions
}

func (s *simple) Stats(now int64) kv.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st kv.Stats
	for _, e := range s.entries {
		st.Entries++
		st.Resident += int64(len(e.Key) + len(e.Value))
		if st.Entries <= int64(s.uncounted) {
			continue
		}
		if e.Live(now) || s.has("counts the expired") && !e.Deleted {
			st.Keys++
			st.Bytes += int64(len(e.Key) + len(e.Value))
		}
	}
	st.Entries += int64(s.ghosts)
	return st
}

func (s *simple) Expire(_ context.Context, now int64, budget int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, kv.ErrClosed
	}
	keys := s.sorted()
	next, found := slices.BinarySearch(keys, s.swept)
	if found {
		next++
	}
	if s.has("always sweeps from the beginning") {
		next = 0
	}
	if s.has("sweeps more than the budget") {
		budget *= 2
	}
	swept := 0
	for range min(budget, len(keys)) {
		k := keys[next%len(keys)]
		next, s.swept = next+1, k
		if s.sweep(k, now) {
			swept++
		}
	}
	return swept, nil
}

// sweep makes an expired entry a tombstone, and reports whether it did.
func (s *simple) sweep(k string, now int64) bool {
	e := s.entries[k]
	if _, forgot := s.forgot[k]; forgot || e.Deleted || e.Live(now) && !s.has("sweeps too early") {
		return false
	}
	if s.has("sweeps what was replaced") {
		s.letOthersIn(20)
	}
	s.bytes -= len(e.Value)
	s.entries[k] = kv.Entry{Key: e.Key, Version: e.Version, Expires: e.Expires, Deleted: true}
	switch s.fault {
	case "removes the expired":
		delete(s.entries, k)
	case "sweeps the expiry away":
		s.entries[k] = kv.Entry{Key: e.Key, Version: e.Version, Deleted: true}
	}
	return true
}
