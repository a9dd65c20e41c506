package kv

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"
)

// maxShards is how many locks a Memory has at most. It is far above the number
// of cores, so that two requests rarely meet.
const maxShards = 128

var (
	_ Store   = (*Memory)(nil)
	_ Scanner = (*Memory)(nil)
	_ Counter = (*Memory)(nil)
	_ Expirer = (*Memory)(nil)
	_ Purger  = (*Memory)(nil)

	_ Metadata = (*Memory)(nil)
)

// MemoryOptions configures a [Memory]. The zero value is ready to use.
type MemoryOptions struct {
	// Partitions is how many partitions the keys are kept apart in; 0 means
	// [DefaultPartitions]. It must be the ring's number.
	Partitions int
	// MaxBytes bounds [Stats.Resident]; 0 means no limit. A value for which the
	// store would have to grow above it, after it has won back what it can of
	// what was replaced or deleted, is refused with ErrFull. One that fits in
	// the place of the one it replaces is always taken, and so are tombstones,
	// each of its key and about 25 bytes, which may take the store above it.
	MaxBytes int64
}

// Memory is a [Store] in the memory of the process. Its entries are lost when
// it is closed.
//
// Entries are records in slabs of bytes, found through tables of integers, so
// the garbage collector has nothing to walk. The partitions are spread over
// shards; a shard is a lock and the slabs of its partitions, and each
// partition has a table of its own. A table grows by itself, so that no growth
// makes the whole store wait. A shard holds as many slabs as it can number, 2
// GiB of records of up to 4 KiB, and any number of larger ones, and then
// returns ErrFull.
type Memory struct {
	partitions int
	maxBytes   int64
	full       error        // ErrFull, with the limit
	seed       maphash.Seed // of the tags, so that nobody can aim keys at one slot
	dict       dictionary
	shards     []shard
	resident   atomic.Int64 // see Stats.Resident
	expiring   ledger       // the live entries that have an expiry
	huge       huge
	sweep      sweeper
	reclaimed  atomic.Uint32 // counts the shards that reclaim looks at
	meta       metadata
}

// NewMemory returns an empty store. It fails where an option is negative, or
// where MaxBytes is less than an empty store takes and a slab for each shard.
func NewMemory(opts MemoryOptions) (*Memory, error) {
	if opts.Partitions < 0 || opts.MaxBytes < 0 {
		return nil, fmt.Errorf("memory store: negative option: partitions %d, max bytes %d",
			opts.Partitions, opts.MaxBytes)
	}
	if opts.Partitions == 0 {
		opts.Partitions = DefaultPartitions
	}
	m := &Memory{
		partitions: opts.Partitions,
		maxBytes:   opts.MaxBytes,
		full:       ErrFull,
		seed:       maphash.MakeSeed(),
		shards:     make([]shard, min(opts.Partitions, maxShards)),
	}
	if opts.MaxBytes > 0 {
		m.full = fmt.Errorf("%w: the memory it may take, %d bytes, is in use", ErrFull, opts.MaxBytes)
	}
	perShard := (opts.Partitions + len(m.shards) - 1) / len(m.shards)
	empty := len(m.shards) * (shardBytes + perShard*tableBytes)
	least := int64(empty + len(m.shards)*slabBytes + opts.Partitions*bucketBytes)
	least += least / (tableReserve - 1)
	if opts.MaxBytes > 0 && opts.MaxBytes < least {
		return nil, fmt.Errorf("memory store: max bytes %d: with %d partitions it must be at least %d bytes",
			opts.MaxBytes, opts.Partitions, least)
	}
	for i := range m.shards {
		m.shards[i].tables = make([]table, perShard)
		m.shards[i].expiring = make([]uint32, perShard)
		m.shards[i].arena = arena{resident: &m.resident, huge: &m.huge}
	}
	m.expiring.resident = &m.resident
	m.resident.Add(int64(empty))
	return m, nil
}

// place is where a key belongs.
type place struct {
	shard, table uint32
	tag          uint32 // what is compared before the key itself
}

// locate returns the shard and the table of a partition.
func (m *Memory) locate(partition int) (shard, table uint32) {
	p, n := uint32(partition), uint32(len(m.shards))
	return p % n, p / n
}

func (m *Memory) place(key []byte) place {
	shard, table := m.locate(Partition(key, m.partitions))
	return place{shard: shard, table: table, tag: uint32(maphash.Bytes(m.seed, key))}
}

// Get implements [Store]. It ignores ctx, for it never waits long.
func (m *Memory) Get(_ context.Context, key, dst []byte) (e Entry, err error) {
	at := m.place(key)
	s := &m.shards[at.shard]
	s.mu.RLock() // no defer: in so short a call it shows
	if s.closed {
		err = ErrClosed
	} else if sl := s.tables[at.table].find(&s.arena, at.tag, key); sl == nil {
		err = ErrNotFound
	} else {
		m.dict.read(s.arena.at(sl.loc()), key, dst[:0], &e)
	}
	s.mu.RUnlock()
	return e, err
}

// Stats implements [Counter].
func (m *Memory) Stats(now int64) Stats {
	var total counts
	var st Stats
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		if s.closed {
			s.mu.RUnlock()
			return Stats{}
		}
		total.add(s.lasting)
		st.Entries += s.entries
		s.mu.RUnlock()
	}
	total.add(m.expiring.live(now))
	st.Keys, st.Bytes = total.keys, total.bytes
	st.Resident = m.resident.Load()
	return st
}

// Close implements [Store]. Calls that come to a shard afterwards return
// ErrClosed, so one that spans shards may do so half done.
func (m *Memory) Close() error {
	closed := false
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		closed = closed || s.closed
		s.closed = true
		s.tables, s.expiring, s.arena = nil, nil, arena{}
		s.mu.Unlock()
	}
	if closed {
		return ErrClosed
	}
	return nil
}
