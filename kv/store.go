package kv

import (
	"context"
	"errors"
	"fmt"
)

// Errors of stores. A store may wrap them with what it knows.
var (
	// ErrNotFound is returned by Get for a key that the store holds no entry
	// of, not even a tombstone.
	ErrNotFound = errors.New("key not found")
	// ErrFull is returned by Apply when there is no room for an entry. Reads,
	// deletions and purges go on.
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
	// ErrLost is returned by every method of a [Mortal] store once it has lost
	// what it held. It is ErrUnavailable as well.
	ErrLost = fmt.Errorf("%w: it has lost what it held", ErrUnavailable)
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
	// Supersedes the other stays. Afterwards done[i], where done is not nil, says
	// what the store found and left under entries[i].Key. A later entry of the
	// same key in entries does not show in it. done has the length of entries.
	//
	// When Apply returns nil, all of it is as durable as the store promises. On
	// an error any part of entries may have been applied, and done says for
	// which: it is zero where the entry was not considered. The store keeps no
	// reference to the entries' bytes.
	Apply(ctx context.Context, entries []Entry, done []Applied) error

	// Close releases what the store holds open. It waits for calls under way.
	Close() error
}

// Applied is what Apply found and left under the key of one entry.
type Applied struct {
	// Held is the version that the store held once it had considered the entry:
	// the entry's own where that was taken or there already, a newer one where
	// it lost; zero where the entry was not considered.
	Held Version
	// Was is the version that the store held just before it considered the
	// entry; zero where nothing was, or where the entry was not considered.
	// Where several entries of one call have the same key, it is what the one
	// before left; where nothing changed, or the tombstone of an expired entry
	// took its place, it is Held. So the changes of a key are one chain: each Was
	// is the Held of the change before, or zero after a purge. A change that
	// nobody was told of is missing there: one of a call that failed, or of a
	// call to a server whose answer was lost, so that the store asked again; then
	// Was and Held are both the entry's own version.
	Was Version
}

// Ref names one version of a key.
type Ref struct {
	Key     []byte
	Version Version
}

// Purger is a Store that can forget entries without a trace.
type Purger interface {
	// Purge removes what the store holds of refs[i].Key where that is exactly
	// refs[i].Version, value or tombstone, and leaves nothing in its place: an
	// older entry of the key would be taken afterwards. Of a key that holds
	// another version or none it removes nothing, and that is no error. purged[i],
	// where purged is not nil, says whether it did; purged has the length of refs.
	//
	// What is removed is removed as durably as what Apply applies, when Purge
	// returns nil. On an error any part may have been, and purged says for which
	// that is sure. A store that is full has room for it, as it has for
	// deletions. The store keeps no reference to the refs' bytes.
	Purge(ctx context.Context, refs []Ref, purged []bool) error
}

// Forgetter is a Store that cannot list its entries, but drop them all.
type Forgetter interface {
	// Forget drops all entries of the node, and keeps its metadata. A call of
	// another method that begins after it has returned nil meets none of them. An
	// entry that is applied meanwhile may go or stay. After an error entries may
	// still be dropped at any time, those applied since as well, until another
	// Forget has returned nil.
	Forget(ctx context.Context) error
}

// Scanner is a Store that can list what it holds: what listing, export,
// repair and hand-over need.
type Scanner interface {
	// Scan calls visit for the entries of one partition whose keys are >= from,
	// in the bytes' order of their keys, until visit returns false. Every key
	// that is in the store from the beginning to the end of the call is
	// visited once; one that comes or is purged meanwhile may be or not. The
	// entry and its bytes are valid during visit only. No lock is held during
	// visit, so it may take its time and may call the store.
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

// Mortal is a Store that may lose under a running process what it has
// acknowledged, as a server does that is restarted without its data. It is
// unusable from then on: whoever used it has relied on what is gone. A store
// that evicts by itself is none, for nothing it holds is relied on.
type Mortal interface {
	// Lost returns a channel that is closed once the store has noticed that
	// entries or metadata are gone. From then on every method but Close returns
	// ErrLost, and nothing is written any more. What the server still has is
	// nobody's: the metadata there are dropped, where it can be reached, so that
	// a store which is opened over it is another one.
	Lost() <-chan struct{}
}

// Metadata is a Store that keeps beside its entries a few small facts about
// the node that uses it: who it is and what it has agreed to. They last as
// long as the entries: a store that is opened has both or neither. Only where
// the store is an [Evictor] may it save again what it knows of them after a
// server has lost both.
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
