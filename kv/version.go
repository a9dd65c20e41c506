package kv

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrBadVersion is returned by [ParseVersion] for text that no [Version]
// prints as.
var ErrBadVersion = errors.New("not a version: want 16 hexadecimal digits, a dash, 16 hexadecimal digits")

// Version orders all writes of a key, on every node alike.
type Version struct {
	// Time is a hybrid logical clock reading (Kulkarni et al., 2014): Unix
	// milliseconds in the upper 48 bits, a counter in the lower 16.
	Time uint64
	// Node is the storage identity of the node that stamped the write. It
	// breaks ties between two nodes that read the same Time.
	Node uint64
}

// Compare returns -1 where v is older than w, 1 where it is newer, else 0.
func (v Version) Compare(w Version) int {
	if c := cmp.Compare(v.Time, w.Time); c != 0 {
		return c
	}
	return cmp.Compare(v.Node, w.Node)
}

// IsZero reports whether v is the version of nothing: older than every write.
func (v Version) IsZero() bool { return v == Version{} }

// Wall returns the wall-clock part of v, to the millisecond.
func (v Version) Wall() time.Time { return time.UnixMilli(int64(v.Time >> counterBits)) }

// String returns v as 16 hexadecimal digits of time, a dash, and 16 of node.
// Text order is version order.
func (v Version) String() string {
	var buf [33]byte
	return string(v.AppendText(buf[:0]))
}

// AppendText appends what String returns to dst, without allocating where dst
// has room for 33 bytes.
func (v Version) AppendText(dst []byte) []byte {
	dst = appendHex(dst, v.Time)
	dst = append(dst, '-')
	return appendHex(dst, v.Node)
}

// ParseVersion is the inverse of [Version.String]. Its error is
// [ErrBadVersion], wrapped with the text.
func ParseVersion(text string) (Version, error) {
	if len(text) != 33 || text[16] != '-' {
		return Version{}, fmt.Errorf("%q: %w", text, ErrBadVersion)
	}
	at, err1 := strconv.ParseUint(text[:16], 16, 64)
	node, err2 := strconv.ParseUint(text[17:], 16, 64)
	v := Version{Time: at, Node: node}
	// One version has one text: upper case, which ParseUint takes, is none.
	if err1 != nil || err2 != nil || v.String() != text {
		return Version{}, fmt.Errorf("%q: %w", text, ErrBadVersion)
	}
	return v, nil
}

func appendHex(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&0xf])
	}
	return dst
}
