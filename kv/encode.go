package kv

import (
	"encoding/binary"
	"fmt"
)

// The encoding of an entry, for stores that keep it as bytes under its key:
//
//	16 bytes  version: time, then node, big-endian
//	 1 byte   flags, as below
//	 8 bytes  expiry, big-endian, where flagged
//	 uvarint  length of the content type, and the content type
//	 the rest value
//
// Its first [RankSize] bytes say which of two entries of a key supersedes the
// other, so that what knows no more can compare them. It is on disks: it may
// only be added to, by a flag that older readers refuse.
const (
	encodedDeleted = 0x80 // the highest bit, for the rank
	encodedExpires = 0x01
	encodedFlags   = encodedDeleted | encodedExpires
)

// RankSize is how many bytes of an encoded entry are its rank, see [Rank].
const RankSize = 17

// AppendEntry appends to dst the encoding of all of e but its key.
func AppendEntry(dst []byte, e *Entry) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.Version.Time)
	dst = binary.BigEndian.AppendUint64(dst, e.Version.Node)
	flags := byte(0)
	if e.Deleted {
		flags |= encodedDeleted
	}
	if e.Expires == 0 {
		dst = append(dst, flags)
	} else {
		dst = append(dst, flags|encodedExpires)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Expires))
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.ContentType)))
	dst = append(dst, e.ContentType...)
	return append(dst, e.Value...)
}

// ParseEntry is the inverse of [AppendEntry]. The entry has no key, and its
// Value is the end of data and not a copy. The error is ErrCorrupt, wrapped.
func ParseEntry(data []byte) (Entry, error) {
	version, deleted, err := Rank(data)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Version: version, Deleted: deleted}
	flags, rest := data[RankSize-1], data[RankSize:]
	if flags&^encodedFlags != 0 {
		return Entry{}, fmt.Errorf("%w: an entry has unknown flags %#x", ErrCorrupt, flags)
	}
	if flags&encodedExpires != 0 {
		if len(rest) < 8 {
			return Entry{}, errCut(data)
		}
		e.Expires, rest = int64(binary.BigEndian.Uint64(rest)), rest[8:]
	}
	n, used := binary.Uvarint(rest)
	if used <= 0 || n > uint64(len(rest)-used) {
		return Entry{}, errCut(data)
	}
	rest = rest[used:]
	e.ContentType = contentTypeOf(rest[:n])
	e.Value = rest[n:]
	return e, nil
}

// Rank returns of an encoded entry what [Entry.Supersedes] compares, looking
// at its first RankSize bytes only.
func Rank(data []byte) (version Version, deleted bool, err error) {
	if len(data) < RankSize {
		return Version{}, false, errCut(data)
	}
	version.Time = binary.BigEndian.Uint64(data)
	version.Node = binary.BigEndian.Uint64(data[8:])
	return version, data[RankSize-1]&encodedDeleted != 0, nil
}

func errCut(data []byte) error {
	return fmt.Errorf("%w: an entry of %d bytes is cut short", ErrCorrupt, len(data))
}

// contentTypeOf returns b as a string, without allocating for the common ones.
func contentTypeOf(b []byte) string {
	for _, common := range [...]string{
		"", "text/plain; charset=utf-8", "application/octet-stream", "application/json",
		"application/x-www-form-urlencoded", "text/plain",
	} {
		if string(b) == common {
			return common
		}
	}
	return string(b)
}
