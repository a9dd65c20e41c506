package kv

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

const (
	slabBits = 15
	// slabSize is what records share: small, for each shard has one that is
	// filled only in part, and evacuates one at a time; and large, so that all
	// the pointers to them stay in the processor's cache.
	slabSize = 1 << slabBits
	// maxShared is the largest record that shares a slab. A larger one has
	// memory of its own, of its size.
	maxShared = slabSize / 8
	// maxSlabs is how many slabs an arena has at most: a slab's number has 16
	// bits, and number 0 is not used.
	maxSlabs = 1 << (31 - slabBits)
	// slabBytes is what a slab takes, and ownBytes what a record of its own
	// takes beside its bytes.
	slabBytes = slabSize + 24
	ownBytes  = 64
)

// location is where a record stands: with ownBit the number of a record that
// has memory of its own, else a slab's number and the offset in it. 0 is no
// location.
type location uint32

const ownBit location = 1 << 31

func (l location) slab() int   { return int(l >> slabBits) }
func (l location) offset() int { return int(l & (slabSize - 1)) }
func (l location) isOwn() bool { return l&ownBit != 0 }
func (l location) own() int    { return int(l &^ ownBit) }

func newLocation(slab, offset int) location { return location(slab<<slabBits | offset) }

// slab is memory that records share.
type slab [slabSize]byte

// fill is how far a slab is filled.
type fill struct {
	used uint16 // bytes that records and filler take, from the beginning
	live uint16 // bytes of records that are not dead
}

// dead returns the bytes that evacuating the slab would win.
func (f fill) dead() int { return int(f.used - f.live) }

// arena is the records of a shard. It is guarded by the shard's lock.
//
// Records are appended to the head slab. A record that is replaced is marked
// dead where it stands; a slab without live records is let go at once, and the
// slab with the most dead bytes is evacuated to the head when the arena has
// too many of them.
type arena struct {
	slabs []*slab // by number; nil where it was let go
	fills []fill  // of slabs
	free  []int   // numbers of slabs that were let go
	head  int     // the slab that is filled now; 0 is none
	live  int     // sum of the fills' live
	dead  int     // sum of the fills' dead()

	owns     [][]byte // the records that have memory of their own, by number
	freeOwns []int    // numbers of those that were let go

	resident *atomic.Int64 // the store's count of allocated bytes
	huge     *huge         // of the store
}

// at returns the memory from l to the end of what was allocated there.
func (a *arena) at(l location) []byte {
	if l.isOwn() {
		return a.owns[l.own()]
	}
	return a.slabs[l.slab()][l.offset():]
}

// headRoom returns the free bytes of the head slab.
func (a *arena) headRoom() int {
	if a.head == 0 {
		return 0
	}
	return slabSize - int(a.fills[a.head].used)
}

// growth returns by how many bytes the arena grows to hold a record more.
func (a *arena) growth(size int) int {
	switch {
	case size > maxShared && a.head == 0:
		return size + ownBytes + slabBytes
	case size > maxShared:
		return size + ownBytes
	case size > a.headRoom():
		return slabBytes
	}
	return 0
}

// alloc returns size bytes of room that count as live; ok is false when the
// arena has used up its numbers.
func (a *arena) alloc(size int) (l location, room []byte, ok bool) {
	if size > maxShared {
		return a.allocOwn(size)
	}
	if size > a.headRoom() && !a.newHead() {
		return 0, nil, false
	}
	f := &a.fills[a.head]
	l = newLocation(a.head, int(f.used))
	f.used += uint16(size)
	f.live += uint16(size)
	a.live += size
	return l, a.at(l), true
}

// newHead puts a new slab in the place of the head; it reports whether there
// was a number for it.
func (a *arena) newHead() bool {
	if len(a.slabs) == 0 {
		a.slabs, a.fills = make([]*slab, 1, 4), make([]fill, 1, 4)
	}
	id := len(a.slabs)
	switch n := len(a.free); {
	case n > 0:
		id, a.free = a.free[n-1], a.free[:n-1]
	case id < maxSlabs:
		a.slabs, a.fills = append(a.slabs, nil), append(a.fills, fill{})
	default:
		return false
	}
	a.slabs[id] = new(slab)
	a.huge.note(unsafe.Pointer(a.slabs[id]))
	a.resident.Add(slabBytes)
	old := a.head
	a.head = id
	if old != 0 {
		a.releaseEmpty(old)
	}
	return true
}

// allocOwn is alloc for a record that gets memory of its own. It sees to it
// that there is a slab, so that its tombstone has room when the store is full.
func (a *arena) allocOwn(size int) (l location, room []byte, ok bool) {
	if a.head == 0 && !a.newHead() {
		return 0, nil, false
	}
	id := len(a.owns)
	switch n := len(a.freeOwns); {
	case n > 0:
		id, a.freeOwns = a.freeOwns[n-1], a.freeOwns[:n-1]
	case location(id) < ownBit:
		a.owns = append(a.owns, nil)
	default:
		return 0, nil, false
	}
	// Grow rounds up to what the allocator hands out anyway.
	a.owns[id] = slices.Grow[[]byte](nil, size)[:size]
	a.resident.Add(int64(cap(a.owns[id]) + ownBytes))
	return ownBit | location(id), a.owns[id], true
}

// kill lets the record at l, of this size, go.
func (a *arena) kill(l location, size int) {
	if l.isOwn() {
		a.resident.Add(-int64(a.ownSize(l)))
		a.owns[l.own()] = nil
		a.freeOwns = append(a.freeOwns, l.own())
		return
	}
	a.at(l)[0] |= flagDead
	a.shrink(l, size)
	a.releaseEmpty(l.slab())
}

// shrink counts n live bytes of the slab at l as dead; n may be negative.
func (a *arena) shrink(l location, n int) {
	f := &a.fills[l.slab()]
	f.live = uint16(int(f.live) - n)
	a.live -= n
	a.dead += n
}

// releaseEmpty lets a slab go that has no live records; the head is filled anew.
func (a *arena) releaseEmpty(id int) {
	if a.fills[id].live > 0 {
		return
	}
	a.dead -= a.fills[id].dead()
	a.fills[id] = fill{}
	if id == a.head {
		return
	}
	a.slabs[id] = nil
	a.free = append(a.free, id)
	a.resident.Add(-slabBytes)
}

// roomAt returns how large a record may be that takes the place of the one at
// l, of this size: what was won there before, when it became smaller, counts.
func (a *arena) roomAt(l location, size int) int {
	if l.isOwn() {
		return cap(a.owns[l.own()])
	}
	if end := l.offset() + size; end < int(a.fills[l.slab()].used) {
		return size + fillerSize(a.slabs[l.slab()][end:])
	}
	return size
}

// rewrite replaces the record at l, of size old, by one that is not larger
// than the room there.
func (a *arena) rewrite(l location, old, room int, r *draft) {
	if l.isOwn() {
		a.owns[l.own()] = a.owns[l.own()][:r.size]
		r.write(a.at(l))
		return
	}
	b := a.at(l)[:room]
	r.write(b)
	fillUp(b[r.size:])
	a.shrink(l, old-r.size)
}

// suits reports whether a record had better take the place of the one at l, of
// size old, than go somewhere else.
func (a *arena) suits(l location, old, size int) bool {
	room := a.roomAt(l, old)
	return size <= room && (!l.isOwn() || size > room-room/8)
}

// ownSize returns what is won when the record at l goes at once.
func (a *arena) ownSize(l location) int {
	if !l.isOwn() {
		return 0
	}
	return cap(a.owns[l.own()]) + ownBytes
}

// wasteful reports whether dead bytes are more than a quarter of the live ones
// and a slab.
func (a *arena) wasteful() bool { return a.dead > a.live/4+slabSize }

// victim returns the slab with the most dead bytes, or 0 where there are none.
func (a *arena) victim() int {
	best := 0
	for id, f := range a.fills {
		if f.dead() > a.fills[best].dead() {
			best = id
		}
	}
	return best
}
