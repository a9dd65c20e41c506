package kv

import (
	"errors"
	"slices"
)

// Errors of operations.
var (
	// ErrPrecondition is returned when the condition of a conditional write
	// does not hold.
	ErrPrecondition = errors.New("precondition failed")
	// ErrConflict is returned when a conditional write raced another write of
	// the key; it was not stored, and may be tried again.
	ErrConflict = errors.New("conflicting write")
	// ErrBadNeed is returned for an operation that asks for the answers of more
	// replicas than its key has. Nothing was applied.
	ErrBadNeed = errors.New("more replicas asked for than the key has")
)

// Verb is what an operation does.
type Verb uint8

// The verbs. Their numbers are part of the peer protocol.
const (
	Get    Verb = 1 // read the entry and its value
	Put    Verb = 2
	Delete Verb = 3

	// Apply, Promise, Withdraw and Drop are what a coordinator asks of a replica;
	// clients never do.

	// Apply keeps the entry that Key, Value, ContentType, Expires, Version and
	// Deleted make, where it supersedes the one that the replica holds. The
	// result's Entry.Version is what it holds afterwards. The error is
	// ErrConflict where the version is below one that was promised.
	Apply Verb = 4
	// Promise has the replica refuse entries of Key that are older than Version
	// from now on. The result's Entry is what it holds, with the value. The
	// error is ErrConflict where a higher version was promised already.
	Promise Verb = 5
	// Withdraw takes a Promise of exactly this Version back, for a writer that has
	// applied nothing under it and never will.
	Withdraw Verb = 6
	// Drop removes the key's entry where it is exactly of this Version, without a
	// trace.
	Drop Verb = 7
)

// IsWrite reports whether the verb changes its key for a client: it is Put or
// Delete.
func (v Verb) IsWrite() bool { return v == Put || v == Delete }

// Internal reports whether the verb is only used between nodes: it is Apply,
// Promise, Withdraw or Drop.
func (v Verb) Internal() bool { return v >= Apply && v <= Drop }

// String returns the verb as it stands in a batch, or in a message: get, put,
// delete, apply, promise, withdraw, drop.
func (v Verb) String() string {
	switch v {
	case Get:
		return "get"
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Apply:
		return "apply"
	case Promise:
		return "promise"
	case Withdraw:
		return "withdraw"
	case Drop:
		return "drop"
	}
	return "invalid verb"
}

// All is every replica there is, as the Need of an operation.
const All = -1

// Op is one operation on one key, as a client asked for it, or as a coordinator
// asks a replica for its part of one.
type Op struct {
	Verb  Verb
	Key   []byte
	Value []byte // Put and Apply only
	// ContentType and Expires of a Put or Apply are stored with the value: see Entry.
	ContentType string
	Expires     int64
	// Blind says that whoever asked does not want to know whether the key
	// existed, which spares a bulk load a read a record. Of a Get between nodes
	// it says that the value is not wanted.
	Blind bool
	// If, where it is not nil, must hold for a Put or Delete to be done.
	If *Condition
	// Need is how many replicas must answer a read or acknowledge a write: 0 is
	// a majority, All is all of them, any other is that many.
	Need int
	// Version is the stamp of an Apply, the lowest that a Promise leaves allowed,
	// or has left that is withdrawn, and what a Drop removes.
	Version Version
	// Deleted says that the entry of an Apply is a tombstone.
	Deleted bool
}

// Result is what became of an Op.
type Result struct {
	// Entry is what the key holds after the operation: with its value after a
	// Get or Promise, without it after the others; after an Apply it is but the
	// version. After a failed precondition it is the
	// entry that the condition was judged on. It is the zero Entry where the
	// key holds nothing.
	Entry Entry
	// Existed says, after a Put or Delete, that a live entry was there before.
	// It means nothing after a Blind one.
	Existed bool
	// Receipt says how the operation came about. Between a coordinator and a
	// replica it is zero.
	Receipt Receipt
	// Err is nil, ErrNotFound (Get of a key without a live entry;
	// Entry is the tombstone where there is one), ErrPrecondition, ErrConflict,
	// an error of the store, or of reaching the node that owns the key.
	Err error
}

// Receipt says how an operation came about.
type Receipt struct {
	N        int    // replicas of the key
	Need     int    // how many of them had to answer: R of a read, W of a write
	Answered int    // how many answered a read, or acknowledged a write
	Durable  int    // how many hold a write where it survives a crash
	Hinted   int    // for how many a write is kept until they are back
	Repaired int    // how many stale replicas a read mended
	Ring     uint64 // the ring version it ran under
}

// Condition is a precondition on the live entry of a key (RFC 9110, sections
// 13.1.1 and 13.1.2). The zero Condition always holds.
type Condition struct {
	// Match, where Matches is set, must contain the entry's version. With
	// MatchAny any live entry will do.
	Match    []Version
	Matches  bool
	MatchAny bool
	// NoneMatch must not contain the entry's version. With NoneMatchAny there
	// must be no live entry.
	NoneMatch    []Version
	NoneMatchAny bool
}

// Holds reports whether c is true of e, judged live or not at now in Unix
// milliseconds. The zero Entry stands for a key that holds nothing.
func (c *Condition) Holds(e *Entry, now int64) bool {
	live := !e.Version.IsZero() && e.Live(now)
	switch {
	case c.MatchAny && !live:
		return false
	case c.Matches && !c.MatchAny && (!live || !slices.Contains(c.Match, e.Version)):
		return false
	case c.NoneMatchAny && live:
		return false
	}
	return !live || !slices.Contains(c.NoneMatch, e.Version)
}
