package kvtest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

var (
	_ kv.Scanner     = (*simple)(nil)
	_ kv.Counter     = (*simple)(nil)
	_ kv.Expirer     = (*simple)(nil)
	_ kv.Purger      = (*simple)(nil)
	_ kv.Metadata    = (*simple)(nil)
	_ kv.BatchGetter = (*simple)(nil)
	_ kv.Durable     = (*simple)(nil)
)

func (s *simple) LoadMeta(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && !s.has("loads facts after close") {
		return nil, kv.ErrClosed
	}
	data, ok := s.facts[s.factName(name)]
	if s.has("keeps facts among entries") {
		var e kv.Entry
		e, ok = s.entries[name]
		data = e.Value
	}
	switch {
	case !ok, s.has("takes an empty fact for none") && len(data) == 0:
		return nil, kv.ErrNotFound
	case s.has("returns its own fact"):
		return data, nil
	}
	return bytes.Clone(data), nil
}

func (s *simple) SaveMeta(_ context.Context, name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	name = s.factName(name)
	switch s.fault {
	case "has no room for facts when full":
		if s.full(len(data)) {
			return kv.ErrFull
		}
	case "keeps facts among entries":
		s.entries[name] = kv.Entry{Key: []byte(name), Value: bytes.Clone(data)}
	case "counts facts as entries":
		s.entries["\x00"+name] = kv.Entry{Key: []byte("\x00" + name)}
	case "cuts long facts":
		data = data[:min(len(data), 32<<10)]
	case "saves facts in two steps":
		s.facts[name] = bytes.Clone(data[:len(data)/2])
		s.letOthersIn(1)
	}
	s.facts[name] = bytes.Clone(data)
	if s.has("keeps the caller's fact") {
		s.facts[name] = data
	}
	return nil
}

func (s *simple) factName(name string) string {
	if s.has("mixes up the case of names") {
		return strings.ToLower(name)
	}
	return name
}

func (s *simple) GetBatch(ctx context.Context, keys [][]byte, found []kv.Entry, errs []error) {
	var room []byte // of all values, with a fault
	shared := map[string]kv.Entry{}
	if s.has("closes when asked for nothing") && len(keys) == 0 {
		s.Close()
	}
	for i, k := range keys {
		if s.has("reads 500 keys at most") && i >= 500 {
			return
		}
		e, err := s.Get(ctx, k, nil)
		if errors.Is(err, kv.ErrNotFound) && s.has("ends a batch at the first miss") {
			return
		}
		if err == nil && s.has("leaves the errors of hits alone") {
			err = errs[i]
		}
		if old, ok := shared[string(k)]; ok && s.has("shares values among keys that repeat") {
			e = old
			e.Key = k
		}
		if s.has("reads a batch in two steps") && len(keys) > 1 {
			e.Version = s.versionLater(k)
		}
		if s.has("lays values end to end") {
			start := len(room)
			if room == nil {
				room = make([]byte, 0, 4<<20)
			}
			room = append(room, e.Value...)
			e.Value = room[start:]
		}
		shared[string(k)], found[i], errs[i] = e, e, err
		if errors.Is(err, kv.ErrClosed) && s.has("tells one key of a batch that it is closed") {
			return
		}
	}
}

// versionLater returns the version of a key after others may have written it.
func (s *simple) versionLater(k []byte) kv.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letOthersIn(1)
	return s.entries[string(k)].Version
}

func (s *simple) Durable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.has("is durable while empty") || len(s.entries) == 0
}

// reopen closes a store, and opens it again as a fault says.
func reopen(t *testing.T, store kv.Store) kv.Store {
	t.Helper()
	old := store.(*simple)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	s := newSimple(old.fault)
	s.maxBytes, s.maxValue, s.bytes = old.maxBytes, old.maxValue, old.bytes
	s.removed = old.removed
	s.facts = maps.Clone(old.facts)
	var last kv.Entry
	for k, e := range old.entries {
		if e.Version.Compare(last.Version) > 0 {
			last = e
		}
		switch {
		case s.has("opens without tombstones") && e.Deleted,
			s.has("opens without empty values") && !e.Deleted && len(e.Value) == 0:
			continue
		case s.has("opens without expiries"):
			e.Expires = 0
		case s.has("opens with what was deleted once") && s.removed[k]:
			e = kv.Entry{Key: e.Key, Version: e.Version, Deleted: true}
		case s.has("opens and does not sweep"):
			s.forgot = old.entries
		}
		s.entries[k] = e
	}
	switch s.fault {
	case "opens without facts":
		clear(s.facts)
	case "opens without the last write":
		delete(s.entries, string(last.Key))
	case "opens with what was purged":
		maps.Copy(s.entries, old.purged)
	case "opens the old one with it":
		old.closed = false
	case "opens and miscounts":
		s.uncounted = len(s.entries)
	}
	return s
}
