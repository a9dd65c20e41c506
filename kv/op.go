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
)

// Verb is what an operation does.
type Verb uint8

// The verbs. Their numbers are part of the peer protocol.
const (
	Get    Verb = 1 // read the entry and its value
	Put    Verb = 2
	Delete Verb = 3
)

// IsWrite reports whether the verb changes its key.
func (v Verb) IsWrite() bool { return v == Put || v == Delete }

// String returns the verb as it stands in a batch: get, put, delete.
func (v Verb) String() string {
	switch v {
	case Get:
		return "get"
	case Put:
		return "put"
	case Delete:
		return "delete"
	}
	return "invalid verb"
}

// Op is one operation on one key, as a client asked for it.
type Op struct {
	Verb  Verb
	Key   []byte
	Value []byte // Put only
	// ContentType and Expires of a Put are stored with the value: see Entry.
	ContentType string
	Expires     int64
	// Blind says that whoever asked does not want to know whether the key
	// existed, which spares a bulk load a read a record.
	Blind bool
	// If, where it is not nil, must hold for a Put or Delete to be done.
	If *Condition
}

// Result is what became of an Op.
type Result struct {
	// Entry is what the key holds after the operation: with its value after a
	// Get, without it after the others. After a failed precondition it is the
	// entry that the condition was judged on. It is the zero Entry where the
	// key holds nothing.
	Entry Entry
	// Existed says, after a Put or Delete, that a live entry was there before.
	// It means nothing after a Blind one.
	Existed bool
	// Durable says, after a Put or Delete, that what the key holds survives a
	// crash of the process that holds it and of its machine.
	Durable bool
	// Err is nil, ErrNotFound (Get of a key without a live entry;
	// Entry is the tombstone where there is one), ErrPrecondition, ErrConflict,
	// an error of the store, or of reaching the node that owns the key.
	Err error
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
