package pebblekv

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// counts is how many entries there are. Each batch that changes them carries
// the change as a merge record, in one with the entries, so that what a crash
// leaves of both agrees; their sum is read when the database is opened.
type counts struct {
	entries int64 // tombstones too
	keys    int64 // entries that are no tombstones, expired ones too
	bytes   int64 // of the keys and values of those
}

// countsSize is how many bytes encoded counts are.
const countsSize = 3 * 8

var countsKey = []byte{prefixCounts}

func (c *counts) add(d counts) {
	c.entries += d.entries
	c.keys += d.keys
	c.bytes += d.bytes
}

func (c counts) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.entries))
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.keys))
	return binary.BigEndian.AppendUint64(dst, uint64(c.bytes))
}

func parseCounts(data []byte) (counts, error) {
	if len(data) != countsSize {
		return counts{}, fmt.Errorf("%w: counts of %d bytes", kv.ErrCorrupt, len(data))
	}
	return counts{
		entries: int64(binary.BigEndian.Uint64(data)),
		keys:    int64(binary.BigEndian.Uint64(data[8:])),
		bytes:   int64(binary.BigEndian.Uint64(data[16:])),
	}, nil
}

// replace changes c by what becomes of it when one entry takes another's place.
// Either may be nil.
func (c *counts) replace(old *kv.Entry, now *kv.Entry) {
	if old != nil {
		c.entries--
		c.live(old, -1)
	}
	if now != nil {
		c.entries++
		c.live(now, 1)
	}
}

func (c *counts) live(e *kv.Entry, sign int64) {
	if !e.Deleted {
		c.keys += sign
		c.bytes += sign * int64(len(e.Key)+len(e.Value))
	}
}

// ledger is the counts of an open database.
type ledger struct {
	mu  sync.Mutex // guards sum
	sum counts
}

func (l *ledger) add(d counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.add(d)
}

func (l *ledger) load() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

// countsMerger sums counts. Its name is on the disk.
func countsMerger() *pebble.Merger {
	return &pebble.Merger{
		Name: "thunderdb.counts.1",
		Merge: func(_, value []byte) (pebble.ValueMerger, error) {
			sum, err := parseCounts(value)
			return &countsSum{sum}, err
		},
	}
}

// countsSum implements [pebble.ValueMerger].
type countsSum struct{ counts }

func (s *countsSum) MergeNewer(value []byte) error {
	d, err := parseCounts(value)
	s.add(d)
	return err
}

func (s *countsSum) MergeOlder(value []byte) error { return s.MergeNewer(value) }

func (s *countsSum) Finish(bool) ([]byte, io.Closer, error) { return s.append(nil), nil, nil }
