package kv

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

const (
	minSlab = 1 << 10
	// maxSlab bounds what is allocated, and evacuated, in one piece. Offsets
	// within a slab have 16 bits, and the garbage collector paces itself better
	// by small pieces.
	maxSlab = 1 << 16
	// maxShared is the largest record that shares a slab. A larger one has a
	// slab of its own, of exactly its size.
	maxShared = maxSlab / 4
	// maxSlabs is how many slabs an arena has at most: a slab's number has 16
	// bits, and number 0 is not used.
	maxSlabs = 1 << 16
	// slabBytes is what a slab takes beside its bytes: its slab value.
	slabBytes = 32
)

// location is where a record stands: the slab's number in the upper 16 bits,
// the offset in the lower. 0 is no location.
type location uint32

func (l location) slab() int { return int(l >> 16) }

// slab is a piece of memory that records are appended to.
type slab struct {
	data []byte // as far as it is filled
	live int    // bytes of records that are not dead
}

// dead returns the bytes that evacuating the slab would win.
func (s *slab) dead() int { return len(s.data) - s.live }

// arena is the records of a shard. It is guarded by the shard's lock.
//
// Records are appended to the head slab. A record that is replaced is marked
// dead where it stands; a slab without live records is let go at once, and the
// slab with the largest dead share is evacuated to the head when the arena has
// too many dead bytes.
type arena struct {
	slabs    []slab        // by number; slabs[0] is not used
	free     []int         // numbers of slabs that were let go
	head     int           // the slab that is filled now; 0 is none
	live     int           // bytes of live records in all slabs
	dead     int           // sum of the slabs' dead()
	resident *atomic.Int64 // the store's count of allocated bytes
}

// at returns the memory from l to the end of its slab.
func (a *arena) at(l location) []byte { return a.slabs[l>>16].data[l&0xffff:] }

// alloc returns size bytes of room that count as live; ok is false when the
// arena has no room.
func (a *arena) alloc(size int) (l location, room []byte, ok bool) {
	id := a.head
	switch {
	case size > maxShared:
		id = a.newSlab(size)
	case id == 0 || cap(a.slabs[id].data)-len(a.slabs[id].data) < size:
		if id = a.newSlab(a.slabSize(size)); id != 0 {
			a.setHead(id)
		}
	}
	if id == 0 {
		return 0, nil, false
	}
	s := &a.slabs[id]
	offset := len(s.data)
	s.data = s.data[:offset+size]
	s.live += size
	a.live += size
	return location(id<<16 | offset), s.data[offset:], true
}

// slabSize returns how large the next slab should be: a small part of what
// the arena holds, so that half a slab of free room costs little, and large
// enough that a few records of size fit.
func (a *arena) slabSize(size int) int {
	want := max(a.live/32, size*4, minSlab)
	return min(1<<bits.Len(uint(want-1)), maxSlab)
}

// newSlab returns the number of a new slab, or 0 when there are too many.
func (a *arena) newSlab(size int) int {
	if len(a.slabs) == 0 {
		a.slabs = make([]slab, 1, 4)
	}
	var id int
	if n := len(a.free); n > 0 {
		id, a.free = a.free[n-1], a.free[:n-1]
	} else if id = len(a.slabs); id < maxSlabs {
		a.slabs = append(a.slabs, slab{})
	} else {
		return 0
	}
	// Grow rounds up to what the allocator hands out anyway.
	a.slabs[id].data = slices.Grow[[]byte](nil, size)
	a.resident.Add(int64(cap(a.slabs[id].data) + slabBytes))
	return id
}

// setHead makes id the slab that is filled. The old head may have been kept
// only for that.
func (a *arena) setHead(id int) {
	old := a.head
	a.head = id
	if old != 0 && a.slabs[old].live == 0 {
		a.release(old)
	}
}

// kill marks the record at l, of this size, as dead.
func (a *arena) kill(l location, size int) {
	a.at(l)[0] |= flagDead
	a.shrink(l, size)
	if s := &a.slabs[l.slab()]; s.live == 0 && l.slab() != a.head {
		a.release(l.slab())
	}
}

// shrink counts n bytes of the slab at l as dead.
func (a *arena) shrink(l location, n int) {
	a.slabs[l.slab()].live -= n
	a.live -= n
	a.dead += n
}

// release lets a slab without live records go.
func (a *arena) release(id int) {
	s := &a.slabs[id]
	a.dead -= s.dead()
	a.resident.Add(-int64(cap(s.data) + slabBytes))
	*s = slab{}
	a.free = append(a.free, id)
}

// rewrite replaces the record at l, of size old, by one that is not larger.
func (a *arena) rewrite(l location, old int, r *draft) {
	b := a.at(l)
	r.write(b[:r.size])
	fill(b[r.size:old])
	a.shrink(l, old-r.size)
}

// rewritable reports whether a record may take the place of one of size old.
// In a slab of its own it must be as large, or the rest would never be freed.
func rewritable(old, size int) bool {
	return size == old || size < old && old <= maxShared
}

// victim returns the slab that is worth the most to evacuate, or 0 where dead
// bytes are few: no more than a quarter of the live ones and a slab, or, when
// hard pressed for memory, a sixteenth.
func (a *arena) victim(pressed bool) int {
	switch {
	case pressed && a.dead <= a.live/16, !pressed && a.dead <= a.live/4+a.slabSize(0):
		return 0
	}
	best := 0
	for id := range a.slabs {
		s, b := &a.slabs[id], &a.slabs[best]
		if id != a.head && s.dead() > 0 && (best == 0 || s.dead()*len(b.data) > b.dead()*len(s.data)) {
			best = id
		}
	}
	return best
}
