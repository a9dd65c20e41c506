package kv

import (
	"slices"
	"sync"
	"unsafe"
)

const (
	shardBytes = int(unsafe.Sizeof(shard{}))
	tableBytes = int(unsafe.Sizeof(table{}))
)

// counts is a number of keys and the bytes of them and their values.
type counts struct{ keys, bytes int64 }

func (c *counts) add(d counts) { c.keys, c.bytes = c.keys+d.keys, c.bytes+d.bytes }
func (c *counts) sub(d counts) { c.keys, c.bytes = c.keys-d.keys, c.bytes-d.bytes }

// shard is the partitions p of a Memory where p modulo the number of shards is
// the same.
type shard struct {
	mu      sync.RWMutex // guards all below
	closed  bool
	tables  []table // of partition p, at p divided by the number of shards
	arena   arena
	lasting counts // live entries that have no expiry
	entries int64  // live, expired and tombstones
	_       [64]byte
}

// slot refers to a record: its key's tag in the upper half, its location in
// the lower. 0 is an empty slot.
type slot uint64

func newSlot(tag uint32, l location) slot { return slot(tag)<<32 | slot(l) }
func (s slot) tag() uint32                { return uint32(s >> 32) }
func (s slot) loc() location              { return location(s) }

// table is the index of one partition: a hash table with open addressing and
// linear probing. Nothing is ever removed from it, for tombstones stay.
type table struct {
	slots    []slot // as many as it likes, not a power of two
	used     int    // slots that are not empty
	expiring int    // records that have an expiry and are no tombstones
}

// home returns the first slot that tag may stand in.
func (t *table) home(tag uint32) int {
	return int(uint64(tag) * uint64(len(t.slots)) >> 32)
}

// find returns the slot of key, or, where ok is false, the one to put it in
// after making room.
func (t *table) find(a *arena, tag uint32, key []byte) (pos int, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for pos = t.home(tag); t.slots[pos] != 0; pos++ {
		if s := t.slots[pos]; s.tag() == tag && keyEquals(a.at(s.loc()), key) {
			return pos, true
		}
		if pos == len(t.slots)-1 {
			pos = -1
		}
	}
	return pos, false
}

// empty returns the empty slot that a new record with this tag belongs in.
func (t *table) empty(tag uint32) int {
	pos := t.home(tag)
	for t.slots[pos] != 0 {
		if pos++; pos == len(t.slots) {
			pos = 0
		}
	}
	return pos
}

// full reports whether the table should grow before it takes a slot more. At
// four fifths a probe still looks at few slots.
func (t *table) full() bool { return (t.used+1)*5 > len(t.slots)*4 }

// grow makes the table half as large again and returns by how many bytes.
func (t *table) grow() int64 {
	old := t.slots
	size := max(len(old)+len(old)/2, 8)
	// Grow rounds up to what the allocator hands out anyway.
	t.slots = slices.Grow[[]slot](nil, size)
	t.slots = t.slots[:cap(t.slots)]
	clear(t.slots)
	for _, s := range old {
		if s != 0 {
			t.slots[t.empty(s.tag())] = s
		}
	}
	return int64(len(t.slots)-len(old)) * int64(unsafe.Sizeof(slot(0)))
}
