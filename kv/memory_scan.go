package kv

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// What Scan copies out under one hold of a lock: scanEntries entries, or fewer
// once their bytes exceed scanBytes.
const (
	scanEntries = 64
	scanBytes   = 64 << 10
)

// Scan implements [Scanner]. It lists the partition's keys when it begins,
// which costs time and memory for all those from from on, and reads the
// entries as it goes. It returns ctx's error where ctx ends meanwhile.
func (m *Memory) Scan(ctx context.Context, partition int, from []byte, visit func(*Entry) bool) error {
	if partition < 0 || partition >= m.partitions {
		return fmt.Errorf("scan: no partition %d among %d", partition, m.partitions)
	}
	keys, err := m.keys(partition, from)
	if err != nil {
		return err
	}
	var page scanPage
	for len(keys) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := m.readPage(partition, keys, &page)
		if err != nil {
			return err
		}
		keys = keys[n:]
		for i := range page.entries {
			if !visit(&page.entries[i]) {
				return nil
			}
		}
	}
	return nil
}

// keys returns copies of the partition's keys that are >= from, sorted.
func (m *Memory) keys(partition int, from []byte) ([][]byte, error) {
	shard, table := m.locate(partition)
	s := &m.shards[shard]
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, ErrClosed
	}
	t := &s.tables[table]
	keys := make([][]byte, 0, t.used)
	var room []byte // what keys are copied to
	buckets := t.buckets()
	for i := range len(buckets) * len(bucket{}) {
		sl := buckets[i/len(bucket{})][i%len(bucket{})]
		if sl == 0 {
			continue
		}
		key, _ := takeBytes(s.arena.at(sl.loc())[1:])
		if bytes.Compare(key, from) < 0 {
			continue
		}
		if cap(room)-len(room) < len(key) {
			room = make([]byte, 0, max(16<<10, len(key)))
		}
		start := len(room)
		room = append(room, key...)
		keys = append(keys, room[start:len(room):len(room)])
	}
	s.mu.RUnlock()
	slices.SortFunc(keys, bytes.Compare)
	return keys, nil
}

// scanPage is entries that were copied out of the store. Its room is used
// again for the next page.
type scanPage struct {
	entries []Entry
	values  []byte
}

// readPage fills page with the entries of the first of keys, and returns how
// many those are: at least one.
func (m *Memory) readPage(partition int, keys [][]byte, page *scanPage) (int, error) {
	shard, table := m.locate(partition)
	s := &m.shards[shard]
	page.entries, page.values = page.entries[:0], page.values[:0]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, ErrClosed
	}
	t := &s.tables[table]
	n := 0
	for ; n < min(len(keys), scanEntries) && len(page.values) < scanBytes; n++ {
		sl := t.find(&s.arena, m.place(keys[n]).tag, keys[n])
		if sl == nil {
			continue
		}
		start := len(page.values)
		var e Entry
		m.dict.read(s.arena.at(sl.loc()), keys[n], page.values, &e)
		page.values = e.Value
		e.Value = e.Value[start:len(e.Value):len(e.Value)]
		page.entries = append(page.entries, e)
	}
	return n, nil
}
