package kvtest_test

import (
	"context"

	"github.com/thunderdb/thunderdb/kv"
)

func (s *simple) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && !s.has("purges after close") {
		return kv.ErrClosed
	}
	if !s.has("leaves purged as it was") {
		clear(purged)
	}
	if ctx.Err() != nil {
		switch s.fault {
		case "purges nothing when cancelled, and says nothing":
			return nil
		case "takes a cancelled purge for a closed store":
			return kv.ErrClosed
		}
	}
	for i := range refs {
		if s.has("purges 1000 refs at most") && i == 1000 {
			break
		}
		did, err := s.purge(&refs[i])
		if err != nil {
			return err
		}
		if purged != nil && (did || s.has("says that it purged everything")) {
			purged[i] = true
		}
	}
	return nil
}

// purge removes what is held of a key in a version, and reports whether it did.
func (s *simple) purge(ref *kv.Ref) (bool, error) {
	name := s.name(ref.Key)
	e, ok := s.entries[name]
	if !ok {
		if s.has("misses what it is to purge") {
			return false, kv.ErrNotFound
		}
		return false, nil
	}
	if e.Version != ref.Version && !s.purgesOther(e.Version, ref.Version) {
		return false, nil
	}
	switch s.fault {
	case "purges in two steps":
		s.letOthersIn(12)
	case "has no room for purges when full":
		if s.full(64 << 10) {
			return false, kv.ErrFull
		}
	case "purges no tombstones":
		if e.Deleted {
			return false, nil
		}
	case "purges by a tombstone":
		s.entries[name] = kv.Entry{Key: e.Key, Version: e.Version, Deleted: true}
		return true, nil
	case "purges by another version of nothing":
		s.entries[name] = kv.Entry{Key: e.Key}
		return true, nil
	case "counts what it purged":
		s.ghosts++
	case "hides from Get what it should purge":
		s.entries["\x00"+name] = e
	case "purges the neighbour too":
		delete(s.entries, name+"kept")
	}
	if !e.Deleted {
		s.bytes -= len(e.Value)
	}
	s.purged[name] = e
	delete(s.entries, name)
	return true, nil
}

// purgesOther reports whether a fault makes a version go that is not the one to
// purge.
func (s *simple) purgesOther(held, ref kv.Version) bool {
	switch s.fault {
	case "purges what is older as well":
		return held.Compare(ref) < 0
	case "purges what is newer as well":
		return held.Compare(ref) > 0
	case "purges without the node":
		return held.Time == ref.Time
	}
	return false
}
