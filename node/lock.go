package node

import (
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// stripes is how many locks the keys of a node share. Two keys under one lock
// only wait for each other.
const stripes = 4096

// keyLocks makes the writes of a key follow one another: what a write decides
// on what it read holds until it is applied.
type keyLocks struct {
	stripe [stripes]sync.Mutex
}

func newKeyLocks() *keyLocks { return new(keyLocks) }

// of returns the lock of a key.
func (l *keyLocks) of(key []byte) *sync.Mutex {
	return &l.stripe[stripeOf(key)]
}

// stripeOf uses the upper bits of the hash, for the lower ones choose the
// partition.
func stripeOf(key []byte) uint64 { return xxhash.Sum64(key) >> 32 % stripes }

// all locks the keys of all ops, in an order that cannot deadlock, and
// returns what unlocks them.
func (l *keyLocks) all(ops []kv.Op) (unlock func()) {
	var wanted [stripes / 64]uint64
	for i := range ops {
		s := stripeOf(ops[i].Key)
		wanted[s/64] |= 1 << (s % 64)
	}
	l.each(&wanted, (*sync.Mutex).Lock)
	return func() { l.each(&wanted, (*sync.Mutex).Unlock) }
}

func (l *keyLocks) each(wanted *[stripes / 64]uint64, do func(*sync.Mutex)) {
	for i, word := range wanted {
		for ; word != 0; word &= word - 1 {
			do(&l.stripe[i*64+bits.TrailingZeros64(word)])
		}
	}
}
