package kv

import (
	"sync"
	"unsafe"
)

const shardBytes = int(unsafe.Sizeof(shard{}))

// counts is a number of keys and the bytes of them and their values.
type counts struct{ keys, bytes int64 }

func (c *counts) add(d counts) { c.keys, c.bytes = c.keys+d.keys, c.bytes+d.bytes }
func (c *counts) sub(d counts) { c.keys, c.bytes = c.keys-d.keys, c.bytes-d.bytes }

// shard is the partitions p of a Memory where p modulo the number of shards is
// the same.
type shard struct {
	mu     sync.RWMutex // guards all below
	closed bool
	tables []table // of partition p, at p divided by the number of shards
	arena  arena
	// expiring counts in each table the live records that have an expiry. It
	// stands apart so that more tables fit in the processor's cache.
	expiring []uint32
	lasting  counts // live entries that have no expiry
	entries  int64  // live, expired and tombstones
	_        [64]byte
}
