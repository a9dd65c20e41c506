package kv

// How a store has memory back. A shard evacuates its worst slab to its head
// when too much of it is dead. In a store that is full, a put first evacuates
// slabs of its own shard until its record fits there, and then slabs of all
// shards, as long as they have a slab to win. A slab is evacuated under one
// hold of its shard's lock.
const (
	// maxMakeRoom is how many slabs of its own shard a put evacuates at most.
	maxMakeRoom = 8
	// maxReclaim is how many slabs of all shards one Apply evacuates at most.
	// Each time it looks, it wins a slab where one byte in 64 is dead.
	maxReclaim = 64
	// tableReserve is the part of the limit, one by this, that is left for
	// tables to grow in: or else no new key would fit where others went.
	tableReserve = 64
)

// evacuate moves the live records of the shard's worst slab to its head, and
// reports whether there was one to evacuate.
func (m *Memory) evacuate(s *shard) bool {
	a := &s.arena
	id := a.victim()
	if id == 0 {
		return false
	}
	data := a.slabs[id][:a.fills[id].used]
	if id == a.head && !a.newHead() {
		return false
	}
	for offset := 0; offset < len(data); {
		b := data[offset:]
		if n := fillerSize(b); n > 0 {
			offset += n
			continue
		}
		r := m.dict.parse(b)
		if r.flags&flagDead == 0 && !m.move(s, newLocation(id, offset), &r, b[:r.size]) {
			return false
		}
		offset += r.size
	}
	return true
}

// move copies a live record to the head slab. It reports whether there was
// room.
func (m *Memory) move(s *shard, from location, r *record, b []byte) bool {
	to, room, ok := s.arena.alloc(r.size)
	if !ok {
		return false
	}
	copy(room, b)
	at := m.place(r.key)
	*s.tables[at.table].slotOf(at.tag, from) = newSlot(at.tag, to)
	s.arena.kill(from, r.size)
	return true
}

// reclaim evacuates slabs, wherever one is to be won, until the store may grow
// by this many bytes, and reports whether it may. It takes one off work for the
// call and for each slab, and all of it where there is nothing more to be won.
func (m *Memory) reclaim(growth int, work *int) bool {
	if *work <= 0 {
		return false
	}
	*work--
	for range m.shards {
		s := &m.shards[m.reclaimed.Add(1)%uint32(len(m.shards))]
		for m.above(growth) && *work > 0 && m.reclaimFrom(s) {
			*work--
		}
		if !m.above(growth) {
			return true
		}
	}
	*work = 0
	return false
}

// reclaimFrom evacuates a slab of a shard that has one to win: whose dead bytes
// and free room are a slab together. It reports whether it did.
func (m *Memory) reclaimFrom(s *shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.arena.dead+s.arena.headRoom() < slabSize {
		return false
	}
	return m.evacuate(s)
}
