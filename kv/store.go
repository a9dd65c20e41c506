package kv

import (
	"context"
	"errors"
)

// Errors of stores. A store may wrap them with what it knows.
var (
	// ErrNotFound is returned by Get for a key that the store holds no entry
	// of, not even a tombstone.
	ErrNotFound = errors.New("key not found")
	// ErrFull is returned by Apply when there is no room for an entry. Reads
	// and deletions go on.
	ErrFull = errors.New("store full")
	// ErrTooLarge is returned by Apply for an entry above a limit of the
	// store's own.
	ErrTooLarge = errors.New("entry too large for the store")
	// ErrNoScan is returned for what needs a Scanner, of a store that is none.
	ErrNoScan = errors.New("the store cannot list its keys")
	// ErrClosed is returned by every method of a store after Close.
	ErrClosed = errors.New("store closed")
	// ErrUnavailable is returned while what a store keeps its entries in, a
	// server or a disk, does not do its work. What was to be written may be
	// there or not. It says nothing of the key.
	ErrUnavailable = errors.New("store unavailable")
	// ErrCorrupt is returned for what a store holds and cannot have written.
	ErrCorrupt = errors.New("store corrupt")
)

// Store holds a node's entries. Every method is safe for concurrent use.
//
// A store neither judges expiry nor hides tombstones: it returns what it was
// given, and whoever asks judges by [Entry.Live].
type Store interface {
	// Get returns the entry of key. Its Value is appended to dst[:0], so a
	// caller with a large enough buffer allocates nothing; its Key is key
	// itself. The error is ErrNotFound where there is no entry.
	Get(ctx context.Context, key, dst []byte) (Entry, error)

	// Apply offers entries to the store, in order. For each key the one that
	// Supersedes the other stays. Afterwards held[i], where held is not nil, is
	// the version that the store held for entries[i].Key once it had considered
	// entries[i]: entries[i].Version where that was taken or there already, a
	// newer one where it lost. A newer entry of the same key further behind in
	// entries does not show in it. held has the length of entries.
	//
	// When Apply returns nil, all of it is as durable as the store promises. On
	// an error any part of entries may have been applied, and held says for
	// which: it is zero where the entry was not considered. The store keeps no
	// reference to the entries' bytes.
	Apply(ctx context.Context, entries []Entry, held []Version) error

	// Close releases what the store holds open. It waits for calls under way.
	Close() error
}

// Scanner is a Store that can list what it holds: what listing, export,
// repair and hand-over need.
type Scanner interface {
	// Scan calls visit for the entries of one partition whose keys are >= from,
	// in the bytes' order of their keys, until visit returns false. Every key
	// that is in the store from the beginning to the end of the call is
	// visited once; one that comes or goes meanwhile may be or not. The entry
	// and its bytes are valid during visit only. No lock is held during visit,
	// so it may take its time and may call the store.
	Scan(ctx context.Context, partition int, from []byte, visit func(*Entry) bool) error
}

// Stats is what a store holds at one moment.
type Stats struct {
	Keys     int64 // live keys
	Bytes    int64 // their keys' and values' bytes
	Entries  int64 // live keys, expired ones and tombstones
	Resident int64 // bytes of memory or disk that the store takes for them
}

// Counter is a Store that knows how much it holds without scanning.
type Counter interface {
	// Stats counts as of now, in Unix milliseconds: an entry that has expired
	// by then is not counted as live, whether it was swept or not, to the
	// second.
	Stats(now int64) Stats
}

// Expirer is a Store that can turn its expired entries into tombstones, of
// the same version and expiry and without a value, to have their space back.
type Expirer interface {
	// Expire examines at most budget entries, going on where its last call
	// ended, and returns how many it turned into tombstones.
	Expire(ctx context.Context, now int64, budget int) (int, error)
}

// Durable is a Store whose entries may outlive its process.
type Durable interface {
	// Durable reports whether what Apply has acknowledged survives a crash of
	// the process and of its machine. It does not change.
	Durable() bool
}

// Evictor is a Store that may drop entries by itself.
type Evictor interface {
	// Evicts reports whether what the store does not hold may have been there,
	// and have been newer than what another store holds. It does not change.
	Evicts() bool
}

// Metadata is a Store that keeps beside its entries a few small facts about
// the node that uses it: who it is and what it has agreed to. They last as
// long as the entries: a store that is opened has both or neither. Where a
// server loses the entries of a node that runs, its store may save again what
// it knows of them, for the node is still who it is.
type Metadata interface {
	// LoadMeta returns what was last saved under a name of ASCII letters. Its
	// error is ErrNotFound where nothing was.
	LoadMeta(ctx context.Context, name string) ([]byte, error)

	// SaveMeta replaces what is saved under a name, at once and in whole. When
	// it returns nil, data is as durable as the store can make it, also where
	// it does not wait for that with entries. A store that is full by its own
	// limit has room for it; the error is ErrFull where what keeps it has none.
	SaveMeta(ctx context.Context, name string, data []byte) error
}

// BatchGetter is a Store that reads many keys at less cost than one by one.
type BatchGetter interface {
	// GetBatch is Get of each of keys: found[i] and errs[i] are what Get of
	// keys[i] returns, with a value of its own. Each has the length of keys.
	GetBatch(ctx context.Context, keys [][]byte, found []Entry, errs []error)
}
