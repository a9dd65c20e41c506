package pebblekv

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
)

// The keys of the database. All numbers are big-endian, so that their order is
// that of the bytes:
//
//	1                                 counts of all entries, see counts
//	2 name                            metadata
//	3 expiry partition key            one for each live entry that expires;
//	                                  its value is the length of the entry's
//	4 partition key                   the entries, encoded by kv.AppendEntry
//
// A partition is 4 bytes and an expiry 8, with its sign turned. This is on
// disks: a change of it is a new format, see format.go.
const (
	prefixCounts  = 1
	prefixMeta    = 2
	prefixExpiry  = 3
	prefixEntries = 4

	partitionSize = 4
	entryHeader   = 1 + partitionSize
	expiryHeader  = 1 + 8 + partitionSize
)

func appendEntryKey(dst []byte, partition int, key []byte) []byte {
	dst = append(dst, prefixEntries)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	return append(dst, key...)
}

// appendExpiryKey appends the key of the index's entry; without partition and
// key, it is the bound before all those that expire at that moment.
func appendExpiryTime(dst []byte, expires int64) []byte {
	dst = append(dst, prefixExpiry)
	return binary.BigEndian.AppendUint64(dst, uint64(expires)^1<<63)
}

func appendExpiryKey(dst []byte, expires int64, partition int, key []byte) []byte {
	dst = appendExpiryTime(dst, expires)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	return append(dst, key...)
}

// parseExpiryKey returns what a key of the index consists of. The key is a part
// of data.
func parseExpiryKey(data []byte) (expires int64, partition int, key []byte, err error) {
	if len(data) < expiryHeader {
		return 0, 0, nil, fmt.Errorf("%w: a key of the index of expiries has %d bytes", kv.ErrCorrupt, len(data))
	}
	expires = int64(binary.BigEndian.Uint64(data[1:]) ^ 1<<63)
	partition = int(binary.BigEndian.Uint32(data[9:]))
	return expires, partition, data[expiryHeader:], nil
}

// appendPartitionEnd appends the bound behind all keys of a partition.
func appendPartitionEnd(dst []byte, partition int) []byte {
	dst = append(dst, prefixEntries)
	// One more than the largest partition there may be is below 1<<32.
	return binary.BigEndian.AppendUint32(dst, uint32(partition)+1)
}

func metaKey(name string) []byte { return append([]byte{prefixMeta}, name...) }

// scratch is room for keys that are looked up.
type scratch struct{ key []byte }

var scratches = sync.Pool{New: func() any { return &scratch{key: make([]byte, 0, 128)} }}
