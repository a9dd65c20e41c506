package kv

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// A record is an entry in a slab:
//
//	flags    1 byte
//	key      uvarint length, bytes
//	time     8 bytes, little endian
//	node     1 byte, its number; with flagInlineNode 8 bytes
//	expires  with flagExpires 8 bytes
//	type     1 byte, its number; with flagInlineType uvarint length, bytes
//	value    uvarint length, bytes
//
// Between records there may be filler: flagFiller, then the uvarint of its
// size, which counts both; or one byte flagPad.
const (
	flagDeleted = 1 << iota
	flagExpires
	flagInlineType
	flagInlineNode
	flagDead // replaced by another record
	flagFiller
	flagPad
)

// record is a record taken apart, but for its content type. Its slices are
// views into the slab.
type record struct {
	flags      byte
	version    Version
	expires    int64
	key, value []byte
	size       int // bytes of the whole record
}

// live returns the keys and bytes that the record counts for: none where it is
// a tombstone.
func (r *record) live() counts {
	if r.flags&flagDeleted != 0 {
		return counts{}
	}
	return counts{1, int64(len(r.key) + len(r.value))}
}

// keyEquals reports whether the record at the beginning of b has this key.
func keyEquals(b, key []byte) bool {
	if n := int(b[1]); n < 0x80 {
		return n == len(key) && string(b[2:2+n]) == string(key)
	}
	stored, _ := takeBytes(b[1:])
	return bytes.Equal(stored, key)
}

// takeBytes returns the bytes behind the uvarint of their length, and the rest.
func takeBytes(b []byte) (taken, rest []byte) {
	n, used := uint64(b[0]), 1
	if n >= 0x80 {
		n, used = binary.Uvarint(b)
	}
	end := used + int(n)
	return b[used:end:end], b[end:]
}

// parse takes apart the record at the beginning of b.
func (d *dictionary) parse(b []byte) record {
	r := record{flags: b[0]}
	var rest []byte
	r.key, rest = takeBytes(b[1:])
	r.version.Time = binary.LittleEndian.Uint64(rest)
	if r.flags&flagInlineNode != 0 {
		r.version.Node = binary.LittleEndian.Uint64(rest[8:])
		rest = rest[16:]
	} else {
		r.version.Node = d.nodes.value(rest[8])
		rest = rest[9:]
	}
	if r.flags&flagExpires != 0 {
		r.expires = int64(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	if r.flags&flagInlineType != 0 {
		_, rest = takeBytes(rest)
	} else {
		rest = rest[1:]
	}
	r.value, rest = takeBytes(rest)
	r.size = len(b) - len(rest)
	return r
}

// read sets e, which is empty, to the record at the beginning of b, which has
// this key. The value is appended to dst. It does what parse does, but makes
// nothing that a reader has no use for.
func (d *dictionary) read(b, key, dst []byte, e *Entry) {
	e.Key = key
	flags, rest := b[0], b[1+sizeBytes(len(key)):]
	e.Deleted = flags&flagDeleted != 0
	e.Version.Time = binary.LittleEndian.Uint64(rest)
	if flags&flagInlineNode != 0 {
		e.Version.Node = binary.LittleEndian.Uint64(rest[8:])
		rest = rest[16:]
	} else {
		e.Version.Node = d.nodes.value(rest[8])
		rest = rest[9:]
	}
	if flags&flagExpires != 0 {
		e.Expires = int64(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	if flags&flagInlineType != 0 {
		var name []byte
		name, rest = takeBytes(rest)
		e.ContentType = string(name)
	} else {
		e.ContentType = d.types.value(rest[0])
		rest = rest[1:]
	}
	value, _ := takeBytes(rest)
	e.Value = append(dst, value...)
}

// fillerSize returns the size of the filler at the beginning of b, or 0 where
// a record stands there.
func fillerSize(b []byte) int {
	switch {
	case b[0]&flagPad != 0:
		return 1
	case b[0]&flagFiller != 0:
		n, _ := binary.Uvarint(b[1:])
		return int(n)
	}
	return 0
}

// fillUp makes all of b filler.
func fillUp(b []byte) {
	switch len(b) {
	case 0:
	case 1:
		b[0] = flagPad
	default:
		b[0] = flagFiller
		binary.PutUvarint(b[1:], uint64(len(b)))
	}
}

// draft is an entry that is about to become a record.
type draft struct {
	*Entry
	flags          byte
	typeID, nodeID byte
	size           int
}

func (d *dictionary) draft(e *Entry) draft {
	r := draft{Entry: e, size: 1 + sizeBytes(len(e.Key)) + 8 + sizeBytes(len(e.Value))}
	if e.Deleted {
		r.flags |= flagDeleted
	}
	if e.Expires != 0 {
		r.flags |= flagExpires
		r.size += 8
	}
	var ok bool
	if r.nodeID, ok = d.nodeID(e.Version.Node); ok {
		r.size++
	} else {
		r.flags |= flagInlineNode
		r.size += 8
	}
	if r.typeID, ok = d.typeID(e.ContentType); ok {
		r.size++
	} else {
		r.flags |= flagInlineType
		r.size += sizeBytes(len(e.ContentType))
	}
	return r
}

// sizeBytes returns the size of n bytes behind the uvarint of their length.
func sizeBytes(n int) int { return (bits.Len(uint(n)|1)+6)/7 + n }

// write writes the record to b, whose length is the record's size.
func (r *draft) write(b []byte) {
	b[0] = r.flags
	b = putBytes(b[1:], r.Key)
	binary.LittleEndian.PutUint64(b, r.Version.Time)
	if r.flags&flagInlineNode != 0 {
		binary.LittleEndian.PutUint64(b[8:], r.Version.Node)
		b = b[16:]
	} else {
		b[8] = r.nodeID
		b = b[9:]
	}
	if r.flags&flagExpires != 0 {
		binary.LittleEndian.PutUint64(b, uint64(r.Expires))
		b = b[8:]
	}
	if r.flags&flagInlineType != 0 {
		b = putBytes(b, r.ContentType)
	} else {
		b[0] = r.typeID
		b = b[1:]
	}
	putBytes(b, r.Value)
}

// putBytes writes data behind the uvarint of its length and returns the rest.
func putBytes[T []byte | string](b []byte, data T) []byte {
	n := binary.PutUvarint(b, uint64(len(data)))
	return b[n+copy(b[n:], data):]
}
