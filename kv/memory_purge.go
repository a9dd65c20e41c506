package kv

import "context"

// Purge implements [Purger]. It ignores ctx, for it never waits long.
func (m *Memory) Purge(_ context.Context, refs []Ref, purged []bool) error {
	clear(purged)
	for n := 0; n < len(refs); {
		next, err := m.purgeRun(refs, purged, n)
		if err != nil {
			return err
		}
		n = next
	}
	return nil
}

// purgeRun purges the nth of refs and those behind it in the same shard, under
// one lock, and returns the first that it left.
func (m *Memory) purgeRun(refs []Ref, purged []bool, n int) (next int, err error) {
	at := m.place(refs[n].Key)
	shard := at.shard
	s := &m.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, ErrClosed
	}
	for work := 0; at.shard == shard; {
		did := m.purge(s, at, &refs[n])
		if purged != nil {
			purged[n] = did
		}
		work += holdEntry + len(refs[n].Key)
		if n++; n == len(refs) || work >= maxHold {
			break
		}
		at = m.place(refs[n].Key)
	}
	return n, nil
}

// purge removes what a shard, which is locked, holds of a key in this version,
// and reports whether it did.
func (m *Memory) purge(s *shard, at place, ref *Ref) bool {
	t := &s.tables[at.table]
	sl := t.find(&s.arena, at.tag, ref.Key)
	if sl == nil {
		return false
	}
	old := m.dict.parse(s.arena.at(sl.loc()))
	if old.version != ref.Version {
		return false
	}
	m.uncount(s, at.table, &old)
	s.entries--
	s.arena.kill(sl.loc(), old.size)
	t.remove(t.bucketOf(*sl), *sl)
	if t.used--; t.used == 0 {
		m.resident.Add(-int64(int(t.n) * bucketBytes))
		t.setBuckets(nil)
	}
	if s.arena.wasteful() {
		m.evacuate(s)
	}
	return true
}
