package kv

import "github.com/cespare/xxhash/v2"

// DefaultPartitions is how many slices the hash space has unless the founder
// of a cluster chose otherwise.
const DefaultPartitions = 4096

// Partition returns the partition of key among count: its xxhash64 modulo
// count.
func Partition(key []byte, count int) int {
	return int(xxhash.Sum64(key) % uint64(count))
}

// Entry is one key with everything that is known of it.
type Entry struct {
	Key   []byte
	Value []byte // empty in a tombstone
	// Version is the stamp of the write that made this entry.
	Version Version
	// Expires is the first moment, in Unix milliseconds, at which the entry
	// counts as absent; 0 means never. A tombstone has it where it is what an
	// expired entry became, and not what a deletion left.
	Expires int64
	// ContentType is the media type that the value was stored with.
	ContentType string
	// Deleted marks a tombstone: the key is absent, since Version.
	Deleted bool
}

// Live reports whether the entry has a value at now, in Unix milliseconds:
// it is neither a tombstone nor expired.
func (e *Entry) Live(now int64) bool {
	return !e.Deleted && (e.Expires == 0 || now < e.Expires)
}

// Expired reports whether the entry has expired at now, in Unix milliseconds,
// whether it is a tombstone by now or not.
func (e *Entry) Expired(now int64) bool {
	return e.Expires != 0 && (e.Deleted || now >= e.Expires)
}

// Supersedes reports whether e must replace old under the same key: it is
// newer, or it is the tombstone that old became when it expired.
func (e *Entry) Supersedes(old *Entry) bool {
	if c := e.Version.Compare(old.Version); c != 0 {
		return c > 0
	}
	return e.Deleted && !old.Deleted
}
