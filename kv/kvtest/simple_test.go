package kvtest_test

import (
	"bytes"
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// simple is the simplest store that passes the suite: a map and a lock. With a
// fault it breaks one promise.
type simple struct {
	fault    string
	maxBytes int // 0 means no limit
	maxValue int // 0 means no limit
	calls    atomic.Int64

	mu      sync.Mutex // guards all below
	closed  bool
	entries map[string]kv.Entry
	swept   string // the last key that Expire looked at
	bytes   int    // of live values
}

func newSimple(fault string) *simple {
	return &simple{fault: fault, entries: map[string]kv.Entry{}}
}

func (s *simple) has(fault string) bool { return s.fault == fault }

func (s *simple) Get(_ context.Context, key, dst []byte) (kv.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && !s.has("reads after close") {
		return kv.Entry{}, kv.ErrClosed
	}
	e, ok := s.entries[s.name(key)]
	if !ok || s.hidden(&e) {
		return kv.Entry{}, kv.ErrNotFound
	}
	switch {
	case s.has("ignores dst"):
		e.Value = bytes.Clone(e.Value)
	case s.has("appends to dst"):
		e.Value = append(dst, e.Value...)
	case !s.has("returns its own bytes"):
		e.Value = append(dst[:0], e.Value...)
	}
	if s.has("loses the content type") {
		e.ContentType = ""
	}
	e.Key = key
	return e, nil
}

// name returns what a key is kept under.
func (s *simple) name(key []byte) string {
	name := string(key)
	switch s.fault {
	case "cuts keys at NUL":
		name, _, _ = strings.Cut(name, "\x00")
	case "mixes up case":
		name = strings.ToLower(name)
	case "cuts long keys":
		name = name[:min(len(name), 250)]
	}
	return name
}

func (s *simple) hidden(e *kv.Entry) bool {
	switch s.fault {
	case "hides tombstones":
		return e.Deleted
	case "hides expired entries":
		return !e.Live(time.Now().UnixMilli())
	case "hides empty values":
		return !e.Deleted && len(e.Value) == 0
	}
	return false
}

func (s *simple) Apply(_ context.Context, entries []kv.Entry, held []kv.Version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	s.calls.Add(1)
	clear(held)
	for i := range entries {
		v, err := s.offer(&entries[i])
		if err != nil {
			return err
		}
		if held != nil {
			held[i] = v
		}
	}
	for i := range held {
		if s.has("held is what stands in the end") {
			held[i] = s.entries[s.name(entries[i].Key)].Version
		}
		if s.has("held is what was offered") {
			held[i] = entries[i].Version
		}
	}
	return nil
}

// offer takes e where it supersedes what is there, and returns the version
// then held.
func (s *simple) offer(e *kv.Entry) (kv.Version, error) {
	old, ok := s.entries[s.name(e.Key)]
	if ok && !s.supersedes(e, &old) {
		return old.Version, nil
	}
	if s.has("forgets the lock") {
		s.letOthersIn(1)
	}
	full := s.full(len(e.Value)-len(old.Value)) && !e.Deleted || e.Deleted && s.has("refuses deletions") && s.full(1)
	if full && !s.has("takes what it refuses") {
		return kv.Version{}, kv.ErrFull
	}
	if s.maxValue > 0 && len(e.Value) > s.maxValue {
		return kv.Version{}, kv.ErrTooLarge
	}
	taken := *e
	if !s.has("keeps the caller's bytes") {
		taken.Key, taken.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	}
	s.bytes += len(e.Value) - len(old.Value)
	s.entries[s.name(e.Key)] = taken
	if full {
		return kv.Version{}, kv.ErrFull
	}
	return e.Version, nil
}

func (s *simple) full(more int) bool { return s.maxBytes > 0 && s.bytes+more > s.maxBytes }

func (s *simple) supersedes(e, old *kv.Entry) bool {
	switch s.fault {
	case "the last one wins":
		return true
	case "forgets the node":
		return e.Version.Time > old.Version.Time
	case "forgets expired tombstones":
		return e.Version.Compare(old.Version) > 0
	}
	return e.Supersedes(old)
}

// letOthersIn gives up the lock until so many calls of Apply came, or for a
// while.
func (s *simple) letOthersIn(calls int64) {
	until := s.calls.Load() + calls
	s.mu.Unlock()
	for tries := calls * 1000; tries > 0 && s.calls.Load() < until; tries-- {
		runtime.Gosched()
	}
	s.mu.Lock()
}

// sorted returns the entries' names in order. The lock is held.
func (s *simple) sorted() []string { return slices.Sorted(maps.Keys(s.entries)) }

func (s *simple) Scan(_ context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	keys, before := s.sorted(), maps.Clone(s.entries)
	if s.has("scans in no order") {
		slices.Reverse(keys)
	}
	for _, k := range keys {
		e := s.entries[k]
		switch {
		case partition != kv.Partition(e.Key, s.partitions()) || k < string(from),
			s.has("scans from behind") && k == string(from),
			s.has("scans no tombstones") && e.Deleted,
			s.has("scans nothing new") && e.Version != before[k].Version:
			continue
		}
		s.mu.Unlock()
		more := visit(&e)
		s.mu.Lock()
		if !more && !s.has("scans on") {
			break
		}
	}
	return nil
}

func (s *simple) partitions() int {
	if s.has("has other partitions") {
		return kv.DefaultPartitions + 1
	}
	return kv.DefaultPartitions
}

func (s *simple) Stats(now int64) kv.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st kv.Stats
	for _, e := range s.entries {
		st.Entries++
		st.Resident += int64(len(e.Key) + len(e.Value))
		if e.Live(now) || s.has("counts the expired") && !e.Deleted {
			st.Keys++
			st.Bytes += int64(len(e.Key) + len(e.Value))
		}
	}
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
	if e.Deleted || e.Live(now) && !s.has("sweeps too early") {
		return false
	}
	if s.has("sweeps what was replaced") {
		s.letOthersIn(20)
	}
	s.bytes -= len(e.Value)
	s.entries[k] = kv.Entry{Key: e.Key, Version: e.Version, Deleted: true}
	if s.has("removes the expired") {
		delete(s.entries, k)
	}
	return true
}

func (s *simple) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && !s.has("closes twice") {
		return kv.ErrClosed
	}
	s.closed = true
	return nil
}
