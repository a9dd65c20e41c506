package node

import (
	"math/bits"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
)

// fences is how many parts a fence has, by key.
const fences = 16

// fence lets entries of many keys be applied at once, and keeps them out where
// one key, or all, must be left alone for a moment.
type fence struct{ part [fences]sync.RWMutex }

func fenceOf(key []byte) int { return int(stripeOf(key) % fences) }

// share admits whoever applies operations, until release is called with what
// it returns.
func (f *fence) share(ops []kv.Op) (held uint32) {
	for i := range ops {
		held |= 1 << fenceOf(ops[i].Key)
	}
	for left := held; left != 0; left &= left - 1 { // in order, so that nobody waits in a circle
		f.part[bits.TrailingZeros32(left)].RLock()
	}
	return held
}

// enter admits whoever changes something that is of no key, until leave is called.
func (f *fence) enter() (leave func()) {
	f.part[0].RLock()
	return f.part[0].RUnlock
}

func (f *fence) release(held uint32) {
	for ; held != 0; held &= held - 1 {
		f.part[bits.TrailingZeros32(held)].RUnlock()
	}
}

// alone waits for those who apply a key, and keeps others out until unlock is
// called.
func (f *fence) alone(key []byte) (unlock func()) {
	part := &f.part[fenceOf(key)]
	part.Lock()
	return part.Unlock
}

// wait returns once everything that was being applied is.
func (f *fence) wait() {
	for i := range f.part {
		f.part[i].Lock()
		f.part[i].Unlock() //nolint:staticcheck // it was only waited for
	}
}
