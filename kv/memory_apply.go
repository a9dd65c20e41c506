package kv

import (
	"context"
	"errors"
	"sync"
)

const (
	// smallBatch is the largest batch that is applied in its own order. A
	// larger one is sorted by shard first, so that each lock is taken once.
	smallBatch = 8
	// maxHold is how much work is done under one hold of a lock, in bytes of
	// keys and values, where each entry counts for holdEntry more.
	maxHold   = 128 << 10
	holdEntry = 1 << 10
)

// Apply implements [Store]. It ignores ctx, for it never waits long. A value
// that there is no room for does not keep it from the entries behind.
func (m *Memory) Apply(_ context.Context, entries []Entry, held []Version) error {
	if len(entries) <= smallBatch {
		var places [smallBatch]place
		for i := range entries {
			places[i] = m.place(entries[i].Key)
		}
		return m.apply(&batch{entries: entries, held: held, places: places[:len(entries)]})
	}
	b := batches.Get().(*batch)
	defer b.release()
	b.entries, b.held = entries, held
	b.sort(m)
	return m.apply(b)
}

// batch is what one Apply works on.
type batch struct {
	entries []Entry
	held    []Version // may be nil
	places  []place   // of the entries
	order   []int32   // the entries' indices by shard; nil is their own order
	starts  []int32   // by shard, where its next entry goes in order
}

// batches keeps the room that sorting takes.
var batches = sync.Pool{New: func() any {
	return &batch{starts: make([]int32, maxShards+1)}
}}

func (b *batch) release() {
	b.entries, b.held = nil, nil
	batches.Put(b)
}

// sort orders the entries by shard, and within a shard as they came.
func (b *batch) sort(m *Memory) {
	b.places, b.order = b.places[:0], b.order[:0]
	clear(b.starts)
	for i := range b.entries {
		at := m.place(b.entries[i].Key)
		b.places = append(b.places, at)
		b.order = append(b.order, 0)
		b.starts[at.shard+1]++
	}
	for i := 1; i < len(b.starts); i++ {
		b.starts[i] += b.starts[i-1]
	}
	for i, at := range b.places {
		b.order[b.starts[at.shard]] = int32(i)
		b.starts[at.shard]++
	}
}

// index returns which entry is the nth to be applied.
func (b *batch) index(n int) int {
	if b.order == nil {
		return n
	}
	return int(b.order[n])
}

// apply applies the batch and returns ErrFull where any entry met it. After
// any other error it stops.
func (m *Memory) apply(b *batch) error {
	clear(b.held)
	var full error
	for n := 0; n < len(b.entries); {
		next, err := m.applyRun(b, n)
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil {
			full = err
		}
		n = next
	}
	return full
}

// applyRun applies the nth entry of a batch and those behind it in the same
// shard, under one lock, and returns the first that it left.
func (m *Memory) applyRun(b *batch, n int) (next int, err error) {
	shard := b.places[b.index(n)].shard
	s := &m.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, ErrClosed
	}
	for work := 0; n < len(b.entries) && work < maxHold; n++ {
		i := b.index(n)
		if b.places[i].shard != shard {
			break
		}
		e := &b.entries[i]
		held, ferr := m.offer(s, b.places[i], e)
		if ferr != nil {
			err = ferr
		} else if b.held != nil {
			b.held[i] = held
		}
		work += holdEntry + len(e.Key) + len(e.Value)
	}
	return n, err
}

// offer offers one entry to its shard, which is locked, and returns the version
// that the shard then holds. The error is ErrFull.
func (m *Memory) offer(s *shard, at place, e *Entry) (Version, error) {
	t := &s.tables[at.table]
	pos, found := t.find(&s.arena, at.tag, e.Key)
	var old record
	if found {
		old = m.dict.parse(s.arena.at(t.slots[pos].loc()))
		if !e.Supersedes(&Entry{Version: old.version, Deleted: old.flags&flagDeleted != 0}) {
			return old.version, nil
		}
	}
	d := m.dict.draft(e)
	if !e.Deleted && !m.roomFor(s, d.size) {
		return Version{}, ErrFull
	}
	var ok bool
	if found {
		// roomFor may have moved the old record, but it is the same there.
		ok = m.replace(s, t, pos, &old, &d)
	} else {
		ok = m.insert(s, t, at.tag, &d)
	}
	if !ok {
		return Version{}, ErrFull
	}
	m.compact(s)
	return e.Version, nil
}

// insert adds a record of a new key; it reports whether there was room.
func (m *Memory) insert(s *shard, t *table, tag uint32, d *draft) bool {
	l, room, ok := s.arena.alloc(d.size)
	if !ok {
		return false
	}
	d.write(room)
	if t.full() {
		m.resident.Add(t.grow())
	}
	t.slots[t.empty(tag)] = newSlot(tag, l)
	t.used++
	s.entries++
	m.count(s, t, d.Entry)
	return true
}

// replace puts a record in the place of the old one, which slot pos refers to;
// it reports whether there was room.
func (m *Memory) replace(s *shard, t *table, pos int, old *record, d *draft) bool {
	l := t.slots[pos].loc()
	if !rewritable(old.size, d.size) {
		to, room, ok := s.arena.alloc(d.size)
		if !ok {
			return false
		}
		d.write(room)
		m.uncount(s, t, old)
		s.arena.kill(l, old.size)
		t.slots[pos] = newSlot(t.slots[pos].tag(), to)
	} else {
		m.uncount(s, t, old)
		s.arena.rewrite(l, old.size, d)
	}
	m.count(s, t, d.Entry)
	return true
}

// count adds an entry to what its shard counts; uncount takes it back.
func (m *Memory) count(s *shard, t *table, e *Entry) {
	c := counts{1, int64(len(e.Key) + len(e.Value))}
	switch {
	case e.Deleted:
	case e.Expires == 0:
		s.lasting.add(c)
	default:
		t.expiring++
		m.expiring.add(e.Expires, c)
	}
}

func (m *Memory) uncount(s *shard, t *table, r *record) {
	switch c := r.live(); {
	case c.keys == 0:
	case r.expires == 0:
		s.lasting.sub(c)
	default:
		t.expiring--
		m.expiring.sub(r.expires, c)
	}
}

// roomFor reports whether a record of this size may be taken under the limit,
// after winning back some memory of the shard where there is none.
func (m *Memory) roomFor(s *shard, size int) bool {
	if !m.above(int64(size)) {
		return true
	}
	m.compact(s)
	return !m.above(int64(size))
}

// above reports whether the store is above its limit with extra bytes more.
func (m *Memory) above(extra int64) bool {
	return m.maxBytes > 0 && m.resident.Load()+extra > m.maxBytes
}

// compact evacuates the worst slab of a shard where that is due: at most
// maxSlab bytes are moved.
func (m *Memory) compact(s *shard) {
	pressed := m.above(m.maxBytes / 16)
	id := s.arena.victim(pressed)
	if id == 0 {
		return
	}
	data := s.arena.slabs[id].data
	for offset := 0; offset < len(data); {
		b := data[offset:]
		if n := fillerSize(b); n > 0 {
			offset += n
			continue
		}
		r := m.dict.parse(b)
		if r.flags&flagDead == 0 && !m.move(s, location(id<<16|offset), &r, b[:r.size]) {
			return
		}
		offset += r.size
	}
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
	t := &s.tables[at.table]
	pos := t.home(at.tag)
	for t.slots[pos].loc() != from {
		if pos++; pos == len(t.slots) {
			pos = 0
		}
	}
	t.slots[pos] = newSlot(at.tag, to)
	s.arena.kill(from, r.size)
	return true
}
