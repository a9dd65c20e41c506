package kv

import (
	"slices"
	"unsafe"
)

const (
	tableBytes  = int(unsafe.Sizeof(table{}) + unsafe.Sizeof(shard{}.expiring[0]))
	bucketBytes = int(unsafe.Sizeof(bucket{}))
	cacheLine   = bucketBytes
)

// slot refers to a record: its key's tag in the upper half, its location in
// the lower. 0 is an empty slot.
type slot uint64

func newSlot(tag uint32, l location) slot { return slot(tag)<<32 | slot(l) }
func (s slot) tag() uint32                { return uint32(s >> 32) }
func (s slot) loc() location              { return location(s) }

// bucket is as many slots as fit a line of the processor's cache, filled from
// the first on. The allocator aligns arrays of buckets to such lines.
type bucket [8]slot

// table is the index of one partition: a hash table of buckets. A slot whose
// home bucket is full stands in the next one that is not, so all buckets from
// its home to where it stands are full, but the last.
type table struct {
	first *bucket // of as many as it likes, not a power of two
	n     uint32  // how many buckets those are
	used  uint32  // slots that are not empty
}

// buckets returns all the buckets.
func (t *table) buckets() []bucket { return unsafe.Slice(t.first, t.n) }

// setBuckets replaces all the buckets.
func (t *table) setBuckets(b []bucket) { t.first, t.n = unsafe.SliceData(b), uint32(len(b)) }

// home returns the first bucket that tag may stand in.
func (t *table) home(tag uint32) int {
	return int(uint64(tag) * uint64(t.n) >> 32)
}

// homeBucket returns the first bucket that tag may stand in, or nil where the
// table is empty.
func (t *table) homeBucket(tag uint32) *bucket {
	if t.n == 0 {
		return nil
	}
	return &t.buckets()[t.home(tag)]
}

// after returns the bucket that takes what bucket i has no room for.
func (t *table) after(i int) int {
	if i++; i < int(t.n) {
		return i
	}
	return 0
}

// find returns the slot of key, or nil where there is none.
func (t *table) find(a *arena, tag uint32, key []byte) *slot {
	if t.n == 0 {
		return nil
	}
	for i := t.home(tag); ; i = t.after(i) {
		b := &t.buckets()[i]
		for j, s := range b {
			if s == 0 {
				return nil
			}
			if s.tag() == tag && keyEquals(a.at(s.loc()), key) {
				return &b[j]
			}
		}
	}
}

// slotOf returns the slot that has this tag and location.
func (t *table) slotOf(tag uint32, l location) *slot {
	for i := t.home(tag); ; i = t.after(i) {
		b := &t.buckets()[i]
		if j := slices.Index(b[:], newSlot(tag, l)); j >= 0 {
			return &b[j]
		}
	}
}

// insert adds a slot; there must be an empty one.
func (t *table) insert(s slot) {
	for i := t.home(s.tag()); ; i = t.after(i) {
		b := &t.buckets()[i]
		if j := slices.Index(b[:], 0); j >= 0 {
			b[j] = s
			return
		}
	}
}

// remove removes a slot that stands in bucket i. What stands further on for want
// of room there moves up, so that find still comes by.
func (t *table) remove(i int, s slot) {
	for {
		hole, last := &t.buckets()[i], len(bucket{})-1
		for hole[last] == 0 {
			last--
		}
		j := slices.Index(hole[:], s)
		hole[j], hole[last] = hole[last], 0
		if last < len(bucket{})-1 {
			return // it was not full, so nothing has passed it
		}
		from, moved := t.passed(i)
		if moved == 0 {
			return
		}
		hole[last] = moved
		i, s = from, moved
	}
}

// passed returns a slot that stands behind bucket i and not in it only because
// that was full, and where; it is 0 where there is none.
func (t *table) passed(i int) (at int, s slot) {
	for j, n := t.after(i), 1; n < int(t.n); j, n = t.after(j), n+1 {
		for _, s := range t.buckets()[j] {
			if s == 0 {
				return 0, 0
			}
			if t.distance(t.home(s.tag()), j) >= n {
				return j, s
			}
		}
	}
	return 0, 0
}

// distance returns how many buckets behind one another is, round the end.
func (t *table) distance(from, to int) int {
	if to < from {
		to += int(t.n)
	}
	return to - from
}

// bucketOf returns the bucket in which a slot stands.
func (t *table) bucketOf(s slot) int {
	for i := t.home(s.tag()); ; i = t.after(i) {
		if slices.Contains(t.buckets()[i][:], s) {
			return i
		}
	}
}

// full reports whether the table should grow before it takes a slot more. At
// seven eighths, few slots stand outside of their home.
func (t *table) full() bool { return int(t.used)+1 > int(t.n)*7 }

// growth returns about by how many bytes the table grows before it takes a
// slot more.
func (t *table) growth() int {
	if !t.full() {
		return 0
	}
	return (int(t.n)/4 + 1) * bucketBytes
}

// grow makes the table a quarter larger and returns by how many bytes.
func (t *table) grow() int64 {
	old := t.buckets()
	// Grow rounds up to what the allocator hands out anyway.
	larger := slices.Grow[[]bucket](nil, len(old)+len(old)/4+1)
	larger = larger[:cap(larger)]
	clear(larger)
	t.setBuckets(larger)
	for i := range old {
		for _, s := range old[i] {
			if s != 0 {
				t.insert(s)
			}
		}
	}
	return int64((len(larger) - len(old)) * bucketBytes)
}
