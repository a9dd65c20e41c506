package kvtest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
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
	facts   map[string][]byte
	locked  map[string]bool     // with a fault: keys that an Apply has locked
	removed map[string]bool     // with a fault: keys that were once deleted
	types   map[string]int      // with a fault: numbers of content types
	late    *kv.Entry           // with a fault: an answer that nobody fetched
	page    kv.Entry            // with a fault: what a scan visits
	forgot  map[string]kv.Entry // with a fault: what Expire does not know of
	purged  map[string]kv.Entry // with a fault: what comes back when it is opened

	uncounted int  // with a fault: entries that Stats do not know of
	ghosts    int  // with a fault: entries that Stats know of only
	scans     int  // under way
	waiting   bool // with a fault: Close waits for scans
}

func newSimple(fault string) *simple {
	return &simple{
		fault:   fault,
		entries: map[string]kv.Entry{},
		facts:   map[string][]byte{},
		locked:  map[string]bool{},
		removed: map[string]bool{},
		types:   map[string]int{},
		purged:  map[string]kv.Entry{},
	}
}

func (s *simple) has(fault string) bool { return s.fault == fault }

func (s *simple) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil && s.has("takes a cancelled call for a miss") {
		return kv.Entry{}, kv.ErrNotFound
	}
	if s.has("answers the call before") {
		if late := s.late; late != nil {
			s.late = nil
			late.Key = key
			return *late, nil
		}
		if e, ok := s.entries[s.name(key)]; ok && ctx.Err() != nil {
			s.late = &e
			return kv.Entry{}, ctx.Err()
		}
	}
	if s.waiting && !s.closed {
		return kv.Entry{}, errors.New("deadlock")
	}
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
	e.ContentType = s.contentType(e.ContentType)
	e.Key = key
	return e, nil
}

// contentType returns what a content type is kept as.
func (s *simple) contentType(name string) string {
	switch s.fault {
	case "loses the content type":
		return ""
	case "cuts long content types":
		return name[:min(len(name), 255)]
	case "numbers content types by a byte":
		if _, ok := s.types[name]; !ok {
			s.types[name] = len(s.types)
		}
		for other, n := range s.types {
			if n == s.types[name]%256 {
				return other
			}
		}
	}
	return name
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
	case "cuts keys of 1024 bytes":
		name = name[:min(len(name), 1023)]
	}
	return name
}

func (s *simple) hidden(e *kv.Entry) bool {
	switch s.fault {
	case "hides tombstones":
		return e.Deleted
	case "hides expired entries":
		return !e.Live(time.Now().UnixMilli())
	case "drops what expired long ago":
		return e.Expires > 0 && e.Expires < 1e12
	case "hides empty values":
		return !e.Deleted && len(e.Value) == 0
	}
	return false
}

func (s *simple) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	s.calls.Add(1)
	clear(done)
	if ctx.Err() != nil {
		switch s.fault {
		case "closes at a cancelled call":
			s.closed = true
		case "drops what is cancelled":
			return nil
		case "holds what is cancelled":
			for i := range done {
				done[i].Held = entries[i].Version
			}
			return ctx.Err()
		}
	}
	if s.has("locks keys as they come") {
		locked, err := s.lockKeys(entries)
		defer s.unlockKeys(entries[:locked])
		if err != nil {
			return err
		}
	}
	if s.has("holds what it drops with a large one") && slices.ContainsFunc(entries, s.tooLarge) {
		for i := range done {
			if !s.tooLarge(entries[i]) {
				done[i].Held = entries[i].Version
			}
		}
		return kv.ErrTooLarge
	}
	before := maps.Clone(s.entries)
	if s.has("looks what was before it has the lock") {
		s.letOthersIn(1)
	}
	if err := s.offerAll(entries, done); err != nil {
		return err
	}
	for i := range done {
		s.misreport(&entries[i], before, &done[i])
	}
	return nil
}

// misreport says of an entry that was considered what a fault says, given what
// there was before the whole call.
func (s *simple) misreport(e *kv.Entry, before map[string]kv.Entry, done *kv.Applied) {
	switch s.fault {
	case "held is what stands in the end":
		done.Held = s.entries[s.name(e.Key)].Version
	case "held is what was offered":
		done.Held = e.Version
	case "was is what stood before the batch", "looks what was before it has the lock":
		done.Was = before[s.name(e.Key)].Version
	case "was is unknown where nothing changed":
		if done.Was == done.Held {
			done.Was = kv.Version{}
		}
	case "was is nothing under a tombstone":
		if before[s.name(e.Key)].Deleted {
			done.Was = kv.Version{}
		}
	case "was is what is held":
		done.Was = done.Held
	}
}

// offerAll offers entries in order, up to an error.
func (s *simple) offerAll(entries []kv.Entry, done []kv.Applied) error {
	for i := range entries {
		said, err := s.offer(&entries[i])
		if err != nil {
			if s.has("holds what it has no room for") && len(entries) > 1 {
				done[i].Held = entries[i].Version
			}
			return err
		}
		if done != nil {
			done[i] = said
		}
	}
	return nil
}

// lockKeys locks keys in the order of entries, and returns how many of these it
// came to. The error is that it waited for too long.
func (s *simple) lockKeys(entries []kv.Entry) (int, error) {
	mine := map[string]bool{}
	for i := range entries {
		k := string(entries[i].Key)
		for tries := 0; s.locked[k] && !mine[k]; tries++ {
			if tries > 100 {
				return i, errors.New("deadlock")
			}
			s.letOthersIn(1)
		}
		s.locked[k], mine[k] = true, true
		if i == 0 {
			s.letOthersIn(1)
		}
	}
	return len(entries), nil
}

func (s *simple) unlockKeys(entries []kv.Entry) {
	for i := range entries {
		delete(s.locked, string(entries[i].Key))
	}
}

func (s *simple) tooLarge(e kv.Entry) bool { return s.maxValue > 0 && len(e.Value) > s.maxValue }

// offer takes e where it supersedes what is there, and returns what was and is
// held.
func (s *simple) offer(e *kv.Entry) (kv.Applied, error) {
	old, ok := s.entries[s.name(e.Key)]
	if ok && !s.supersedes(e, &old) {
		return kv.Applied{Held: old.Version, Was: old.Version}, nil
	}
	if s.has("forgets the lock") {
		s.letOthersIn(1)
	}
	full := s.full(len(e.Value)-len(old.Value)) && !e.Deleted || e.Deleted && s.has("refuses deletions") && s.full(1)
	if full && !s.has("takes what it refuses") {
		return kv.Applied{}, kv.ErrFull
	}
	if s.tooLarge(*e) {
		return kv.Applied{}, kv.ErrTooLarge
	}
	taken := *e
	if !s.has("keeps the caller's bytes") {
		taken.Key, taken.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	}
	s.damage(&taken)
	s.bytes += len(e.Value) - len(old.Value)
	s.entries[s.name(e.Key)] = taken
	if full {
		return kv.Applied{}, kv.ErrFull
	}
	return kv.Applied{Held: e.Version, Was: old.Version}, nil
}

// damage does to an entry that was taken what a fault says.
func (s *simple) damage(e *kv.Entry) {
	switch {
	case s.has("forgets a tombstone's expiry") && e.Deleted:
		e.Expires = 0
	case s.has("keeps expiries as floating point") && e.Expires < math.MaxInt64:
		e.Expires = int64(float64(e.Expires))
	}
	if e.Deleted {
		s.removed[string(e.Key)] = true
	}
}

func (s *simple) full(more int) bool { return s.maxBytes > 0 && s.bytes+more > s.maxBytes }

func (s *simple) supersedes(e, old *kv.Entry) bool {
	switch s.fault {
	case "the last one wins":
		return true
	case "forgets the node":
		return e.Version.Time > old.Version.Time
	case "compares versions as floating point":
		a, b := float64(e.Version.Time), float64(old.Version.Time)
		return a > b || a == b && e.Version.Node > old.Version.Node
	case "lets anything replace the expired":
		return e.Supersedes(old) || !old.Deleted && !old.Live(time.Now().UnixMilli())
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

func (s *simple) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && !s.has("closes twice") {
		return kv.ErrClosed
	}
	for s.waiting = s.has("waits for scans with its lock"); s.waiting && s.scans > 0; {
		s.letOthersIn(1)
	}
	s.closed = true
	return nil
}
