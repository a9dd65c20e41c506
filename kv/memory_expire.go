package kv

import (
	"context"
	"sync"
)

// sweeper is how far Expire has come.
type sweeper struct {
	mu        sync.Mutex // serialises Expire, guards all below
	partition int
	slot      int
	key       []byte // room for the key of the entry that is swept
}

// sweepSlots is how many slots Expire looks at under one hold of a lock.
const sweepSlots = 256

// Expire implements [Expirer]. One call goes once round the store at most, and
// passes over partitions in which nothing has an expiry. It returns ctx's
// error where ctx ends meanwhile.
func (m *Memory) Expire(ctx context.Context, now int64, budget int) (int, error) {
	w := &m.sweep
	w.mu.Lock()
	defer w.mu.Unlock()
	swept := 0
	for passed := 0; passed <= m.partitions && budget > 0; {
		if err := ctx.Err(); err != nil {
			return swept, err
		}
		examined, n, err := m.sweepSome(now, budget)
		if err != nil {
			return swept, err
		}
		budget -= examined
		swept += n
		if w.slot == 0 {
			passed++
		}
	}
	return swept, nil
}

// sweepSome looks at a few slots where the sweeper stands and moves it on. It
// returns how many entries it examined, and how many it made tombstones.
func (m *Memory) sweepSome(now int64, budget int) (examined, swept int, err error) {
	w := &m.sweep
	shard, table := m.locate(w.partition)
	s := &m.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, ErrClosed
	}
	// The table may have changed since: a record that this has put before the
	// slot waits for the next round.
	buckets := s.tables[table].buckets()
	slots := len(buckets) * len(bucket{})
	end := min(w.slot+sweepSlots, slots)
	if s.expiring[table] == 0 {
		w.slot = slots
	}
	for ; w.slot < end && examined < budget; w.slot++ {
		sl := &buckets[w.slot/len(bucket{})][w.slot%len(bucket{})]
		if *sl == 0 {
			continue
		}
		examined++
		if m.sweepSlot(s, table, sl, now) {
			swept++
		}
	}
	if w.slot >= slots {
		w.slot = 0
		w.partition = (w.partition + 1) % m.partitions
	}
	return examined, swept, nil
}

// sweepSlot makes the entry that a slot refers to a tombstone, where it has
// expired, and reports whether it did.
func (m *Memory) sweepSlot(s *shard, table uint32, sl *slot, now int64) bool {
	r := m.dict.parse(s.arena.at(sl.loc()))
	if r.flags&flagDeleted != 0 || r.expires == 0 || now < r.expires {
		return false
	}
	m.sweep.key = append(m.sweep.key[:0], r.key...)
	d := m.dict.draft(&Entry{Key: m.sweep.key, Version: r.version, Expires: r.expires, Deleted: true})
	// It is smaller than the old one, so there is room but for a record that
	// leaves its own slab while the shard is at its limit: then it stays.
	if m.replace(s, table, sl, &r, &d) > 0 {
		return false
	}
	if s.arena.wasteful() {
		m.evacuate(s)
	}
	return true
}
