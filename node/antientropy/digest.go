package antientropy

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// Digests are compared between nodes, so how they are made up is part of the
// peer protocol:
//
//   - The share of an entry is a 64-bit mix of the xxhash64 of its key and of
//     its version. Not of its deletion mark: an expired entry and the tombstone
//     that it becomes have the same version, and are the same. Nor of its value,
//     for a version is given to one write only.
//   - A key belongs to one of the buckets, by the mix of its hash.
//   - The sum of a bucket is the sum of its entries' shares, modulo 2^64. So
//     the order in which entries came does not matter, and an entry is taken
//     out by subtracting its share.
//
// Two replicas that differ have the same sums by chance only, at 2^-64.

// Buckets is how many parts of a partition are summed up separately.
const Buckets = 16

// Digest says what a replica holds of a partition, without saying it: the keys
// and versions of its entries, tombstones included. The zero Digest is that of
// nothing at all.
type Digest struct {
	Root    uint64 // the sum of Buckets, or else the digest is Unknown
	Buckets [Buckets]uint64
}

// Unknown returns the digest of a partition of which it is not known what it
// holds. It is like no digest, itself included. No entries have it, for its
// Root is not the sum of its buckets.
func Unknown() Digest { return Digest{Root: 1} }

// Known reports whether the digest says anything.
func (d *Digest) Known() bool { return d.Root == sum(&d.Buckets) }

// Empty reports whether the digest is that of a partition without entries.
func (d *Digest) Empty() bool { return *d == Digest{} }

// Alike reports whether the replicas that gave d and o held the same.
func (d *Digest) Alike(o *Digest) bool { return d.Known() && *d == *o }

// buckets is a set of buckets, a bit for each.
type buckets uint16

const allBuckets buckets = 1<<Buckets - 1

// has reports whether the bucket of key is in the set.
func (b buckets) has(key []byte) bool {
	return b == allBuckets || b&(1<<bucketOf(xxhash.Sum64(key))) != 0
}

// differing returns the buckets in which two digests differ.
func differing(d, o *Digest) buckets {
	if !d.Known() || !o.Known() {
		return allBuckets
	}
	var set buckets
	for i := range d.Buckets {
		if d.Buckets[i] != o.Buckets[i] {
			set |= 1 << i
		}
	}
	return set
}

// digestText is how many bytes the text of a digest stands for.
const digestText = 8 * Buckets

// MarshalText returns the digest as base64 text, which is empty for an empty
// partition and "?" for one that is unknown.
func (d Digest) MarshalText() ([]byte, error) {
	switch {
	case !d.Known():
		return []byte("?"), nil
	case d.Empty():
		return []byte{}, nil
	}
	raw := make([]byte, 0, digestText)
	for _, b := range d.Buckets {
		raw = binary.BigEndian.AppendUint64(raw, b)
	}
	return base64.RawStdEncoding.AppendEncode(nil, raw), nil
}

// UnmarshalText is the inverse of [Digest.MarshalText].
func (d *Digest) UnmarshalText(text []byte) error {
	switch string(text) {
	case "?":
		*d = Unknown()
		return nil
	case "":
		*d = Digest{}
		return nil
	}
	raw, err := base64.RawStdEncoding.AppendDecode(make([]byte, 0, digestText), text)
	if err != nil {
		return fmt.Errorf("read a digest: %w", err)
	}
	if len(raw) != digestText {
		return fmt.Errorf("read a digest: it has %d bytes, want %d", len(raw), digestText)
	}
	for i := range d.Buckets {
		d.Buckets[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	d.Root = sum(&d.Buckets)
	return nil
}

func sum(buckets *[Buckets]uint64) uint64 {
	var total uint64
	for _, b := range buckets {
		total += b
	}
	return total
}

// bucketOf returns the bucket of a key with this hash. The keys of a partition
// have the hash's lower bits in common, so it is mixed first.
func bucketOf(hash uint64) int { return int(mix(hash) >> 60) }

// share is what an entry adds to its bucket: nothing where version is zero.
func share(hash uint64, version kv.Version) uint64 {
	if version.IsZero() {
		return 0
	}
	return mix(mix(mix(hash)+version.Time) + version.Node)
}

// mix is a bijection in which each bit of the result depends on every bit of
// x: the increment and the finalizer of SplitMix64 (Steele, Lea and Flood,
// 2014; constants by Stafford, mix 13).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
