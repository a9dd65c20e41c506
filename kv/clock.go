package kv

import (
	"sync/atomic"
	"time"
)

// counterBits is the width of the counter in [Version.Time].
const counterBits = 16

// Clock is a hybrid logical clock: it follows the wall clock, never goes
// back, and never gives the same reading twice. It is safe for concurrent use.
type Clock struct {
	wall func() time.Time
	last atomic.Uint64 // the highest reading given or observed
}

// NewClock returns a clock that follows wall, or time.Now where wall is nil.
func NewClock(wall func() time.Time) *Clock {
	if wall == nil {
		wall = time.Now
	}
	return &Clock{wall: wall}
}

// Now returns the wall clock as Unix milliseconds: what expiry is judged by.
func (c *Clock) Now() int64 { return c.wall().UnixMilli() }

// Next reserves n consecutive readings and returns the first. All of them are
// above every reading given or observed before. When the counter overflows it
// carries into the milliseconds, so the clock runs ahead rather than repeat.
func (c *Clock) Next(n int) uint64 {
	wall := uint64(max(c.Now(), 0)) << counterBits // a time before 1970 would become the highest
	for {
		last := c.last.Load()
		first := max(last+1, wall)
		if c.last.CompareAndSwap(last, first+uint64(n)-1) {
			return first
		}
	}
}

// maxReading is the highest reading that is believed, in the year 6429: what
// is above it is no clock's, and would let ours run over.
const maxReading = 1 << 63

// Observe makes every later reading be above t, a reading of another clock. It
// ignores what is no reading of any.
func (c *Clock) Observe(t uint64) {
	for t <= maxReading {
		last := c.last.Load()
		if t <= last || c.last.CompareAndSwap(last, t) {
			return
		}
	}
}

// Last returns the highest reading given or observed so far: what a node
// tells others, so that their later stamps are above its earlier ones.
func (c *Clock) Last() uint64 { return c.last.Load() }
