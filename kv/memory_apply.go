package kv

import (
	"context"
	"sync"
	"unsafe"
)

const (
	// smallBatch is the largest batch that is applied in its own order. A
	// larger one is sorted by shard first, so that each lock is taken once.
	smallBatch = 8
	// maxHold is how much work is done under one hold of a lock, in bytes of
	// keys and values, where each entry counts for holdEntry more.
	maxHold   = 128 << 10
	holdEntry = 1 << 10
	// warmEntries is how many entries are looked for at a time.
	warmEntries = 64
)

// Apply implements [Store]. It ignores ctx, for it never waits long. A value
// that there is no room for does not keep it from the entries behind.
func (m *Memory) Apply(_ context.Context, entries []Entry, done []Applied) error {
	if len(entries) == 1 { // as most often
		places := [1]place{m.place(entries[0].Key)}
		return m.apply(&batch{entries: entries, done: done, places: places[:]})
	}
	if len(entries) <= smallBatch {
		var places [smallBatch]place
		for i := range entries {
			places[i] = m.place(entries[i].Key)
		}
		return m.apply(&batch{entries: entries, done: done, places: places[:len(entries)]})
	}
	b := batches.Get().(*batch)
	defer b.release()
	b.entries, b.done = entries, done
	b.sort(m)
	return m.apply(b)
}

// batch is what one Apply works on.
type batch struct {
	entries []Entry
	done    []Applied // may be nil
	places  []place   // of the entries
	order   []int32   // the entries' indices by shard; nil is their own order
	starts  []int32   // by shard, where its next entry goes in order
	warmed  slot      // means nothing, but that warm must read
}

// batches keeps the room that sorting takes.
var batches = sync.Pool{New: func() any {
	return &batch{starts: make([]int32, maxShards+1)}
}}

func (b *batch) release() {
	b.entries, b.done = nil, nil
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

// warm reads what the nth entry and those behind it in the same shard will be
// looked for in: first all their buckets, then all their records, so that the
// processor fetches many at a time.
func (b *batch) warm(s *shard, n int) {
	end, shard := n, b.places[b.order[n]].shard
	for ; end < min(n+warmEntries, len(b.order)); end++ {
		at := b.places[b.order[end]]
		if at.shard != shard {
			break
		}
		if home := s.tables[at.table].homeBucket(at.tag); home != nil {
			b.warmed += home[0]
		}
	}
	for _, i := range b.order[n:end] {
		at := b.places[i]
		home := s.tables[at.table].homeBucket(at.tag)
		if home == nil {
			continue
		}
		for _, sl := range home {
			if sl != 0 && sl.tag() == at.tag {
				r := s.arena.at(sl.loc())
				b.warmed += slot(r[0]) + slot(r[min(cacheLine, len(r)-1)])
			}
		}
	}
}

// apply applies the batch and returns ErrFull where any entry met it. After
// any other error it stops.
func (m *Memory) apply(b *batch) error {
	clear(b.done)
	var full error
	work := maxReclaim
	for n := 0; n < len(b.entries); {
		next, lacking, err := m.applyRun(b, n)
		if err != nil {
			return err
		}
		n = next
		if lacking == 0 || m.reclaim(lacking, &work) {
			continue // with the entry that there was no room for
		}
		full = m.full
		n++
	}
	return full
}

// applyRun applies the nth entry of a batch and those behind it in the same
// shard, under one lock, and returns the first that it left. Where it left that
// because the store is full, lacking is the bytes that it would grow by.
func (m *Memory) applyRun(b *batch, n int) (next, lacking int, err error) {
	shard := b.places[b.index(n)].shard
	s := &m.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, 0, ErrClosed
	}
	if b.order != nil {
		b.warm(s, n)
	}
	for work := 0; n < len(b.entries) && work < maxHold; n++ {
		i := b.index(n)
		if b.places[i].shard != shard {
			break
		}
		e := &b.entries[i]
		was, held, lacking := m.offer(s, b.places[i], e)
		if lacking > 0 {
			return n, lacking, nil
		}
		if b.done != nil {
			b.done[i] = Applied{Held: held, Was: was}
		}
		work += holdEntry + len(e.Key) + len(e.Value)
	}
	return n, 0, nil
}

// offer offers one entry to its shard, which is locked, and returns the versions
// that the shard held before and then holds. Where there is no room for it,
// nothing changes and lacking is the bytes that the store would grow by.
func (m *Memory) offer(s *shard, at place, e *Entry) (was, held Version, lacking int) {
	sl := s.tables[at.table].find(&s.arena, at.tag, e.Key)
	if sl == nil {
		d := m.dict.draft(e)
		lacking = m.insert(s, at, &d)
	} else {
		old := m.dict.parse(s.arena.at(sl.loc()))
		was = old.version
		if !e.Supersedes(&Entry{Version: was, Deleted: old.flags&flagDeleted != 0}) {
			return was, was, 0
		}
		d := m.dict.draft(e)
		lacking = m.replace(s, at.table, sl, &old, &d)
	}
	if lacking > 0 {
		return Version{}, Version{}, lacking
	}
	if s.arena.wasteful() {
		m.evacuate(s)
	}
	return was, e.Version, 0
}

// insert adds a record of a new key. It returns 0, or the bytes that there
// were lacking for it.
func (m *Memory) insert(s *shard, at place, d *draft) (lacking int) {
	t := &s.tables[at.table]
	if lacking = m.lack(s, d, t.growth()); lacking > 0 {
		return lacking
	}
	l, room, ok := s.arena.alloc(d.size)
	if !ok {
		return slabBytes
	}
	d.write(room)
	if t.full() {
		m.resident.Add(t.grow())
		m.huge.note(unsafe.Pointer(t.first))
	}
	t.insert(newSlot(at.tag, l))
	t.used++
	s.entries++
	m.count(s, at.table, d.Entry)
	return 0
}

// replace puts a record in the place of the old one, which a slot refers to.
// It returns 0, or the bytes that there were lacking for it.
func (m *Memory) replace(s *shard, table uint32, sl *slot, old *record, d *draft) (lacking int) {
	a := &s.arena
	switch l := sl.loc(); {
	case d.size == old.size:
		d.write(a.at(l))
	case a.suits(l, old.size, d.size):
		a.rewrite(l, old.size, a.roomAt(l, old.size), d)
	default:
		if lacking = m.relocate(s, sl, old.size, d); lacking > 0 {
			return lacking
		}
	}
	m.uncount(s, table, old)
	m.count(s, table, d.Entry)
	return 0
}

// relocate puts a record in the place of the old one, of this size, and
// somewhere else if that can be. It returns 0, or the bytes that there were
// lacking for it.
func (m *Memory) relocate(s *shard, sl *slot, old int, d *draft) (lacking int) {
	a := &s.arena
	lacking = m.lack(s, d, -a.ownSize(sl.loc()))
	from := sl.loc() // lack may have moved it
	if lacking == 0 {
		if to, room, ok := a.alloc(d.size); ok {
			d.write(room)
			a.kill(from, old)
			*sl = newSlot(sl.tag(), to)
			return 0
		}
		lacking = slabBytes
	}
	room := a.roomAt(from, old)
	if d.size > room {
		return lacking
	}
	a.rewrite(from, old, room, d)
	return 0
}

// lack returns how many bytes there are lacking under the limit for a record
// more, where the store grows by extra besides; 0 is none. It wins back memory
// of the shard for it.
func (m *Memory) lack(s *shard, d *draft, extra int) int {
	if d.Deleted {
		return 0
	}
	a := &s.arena
	for tries := maxMakeRoom; ; tries-- {
		n := a.growth(d.size)
		winnable := n > 0 && d.size <= min(maxShared, a.dead+a.headRoom())
		if n += extra; n > 0 && n > extra {
			n += int(m.maxBytes / tableReserve)
		}
		if !m.above(n) {
			return 0
		}
		if !winnable || tries == 0 || !m.evacuate(s) {
			return n
		}
	}
}

// above reports whether the store would be above its limit if it grew.
func (m *Memory) above(growth int) bool {
	return growth > 0 && m.maxBytes > 0 && m.resident.Load()+int64(growth) > m.maxBytes
}

// count adds an entry to what its shard counts; uncount takes it back.
func (m *Memory) count(s *shard, table uint32, e *Entry) {
	c := counts{1, int64(len(e.Key) + len(e.Value))}
	switch {
	case e.Deleted:
	case e.Expires == 0:
		s.lasting.add(c)
	default:
		s.expiring[table]++
		m.expiring.add(e.Expires, c)
	}
}

func (m *Memory) uncount(s *shard, table uint32, r *record) {
	switch c := r.live(); {
	case c.keys == 0:
	case r.expires == 0:
		s.lasting.sub(c)
	default:
		s.expiring[table]--
		m.expiring.sub(r.expires, c)
	}
}
