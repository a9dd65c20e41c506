package node

import (
	"context"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// stripes is how many locks the keys of a node share. Two keys under one lock
// only wait for each other.
const stripes = 4096

// keyLocks makes the writes of a key that this node coordinates follow one
// another: what a write decides on what it read holds until it is applied.
// Replicas are waited for meanwhile, so whoever waits for a lock does so no
// longer than its context lasts.
type keyLocks struct {
	stripe [stripes]chan struct{} // each has room for one: who holds it
}

func newKeyLocks() *keyLocks {
	l := new(keyLocks)
	for i := range l.stripe {
		l.stripe[i] = make(chan struct{}, 1)
	}
	return l
}

// stripeOf uses the upper bits of the hash, for the lower ones choose the
// partition.
func stripeOf(key []byte) uint64 { return xxhash.Sum64(key) >> 32 % stripes }

// one locks a key. Whoever is done receives from what it returns. The error is
// ctx's, and then nothing is locked.
func (l *keyLocks) one(ctx context.Context, key []byte) (held chan struct{}, err error) {
	held = l.stripe[stripeOf(key)]
	return held, take(ctx, held)
}

// all locks the keys of all ops, in an order that cannot deadlock, and returns
// what unlocks them. Its error is ctx's, and then nothing is locked.
func (l *keyLocks) all(ctx context.Context, ops []kv.Op) (unlock func(), err error) {
	var wanted, held [stripes / 64]uint64
	for i := range ops {
		s := stripeOf(ops[i].Key)
		wanted[s/64] |= 1 << (s % 64)
	}
	unlock = func() {
		for i, word := range held {
			for ; word != 0; word &= word - 1 {
				<-l.stripe[i*64+bits.TrailingZeros64(word)]
			}
		}
	}
	for i, word := range wanted {
		for ; word != 0; word &= word - 1 {
			bit := bits.TrailingZeros64(word)
			if err := take(ctx, l.stripe[i*64+bit]); err != nil {
				unlock()
				return nil, err
			}
			held[i] |= 1 << bit
		}
	}
	return unlock, nil
}

// take takes a lock, or returns ctx's error.
func take(ctx context.Context, lock chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case lock <- struct{}{}:
		return nil
	default:
	}
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
