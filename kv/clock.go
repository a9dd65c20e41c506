package kv

import (
	"errors"
	"sync/atomic"
	"time"
)

// counterBits is the width of the counter in [Version.Time].
const counterBits = 16

// MaxAhead is how far the wall clock of another node may be ahead of one's own
// before it counts as wrong.
const MaxAhead = 500 * time.Millisecond

// maxDrift is how far a reading of another clock may be ahead of the wall clock
// and is still observed: a node that has restarted begins at its ceiling, and a
// counter that overflows runs ahead.
const maxDrift = 5 * time.Second

// ErrClockCeiling is returned by [Clock.Next] for readings above the ceiling:
// what keeps it does not answer, or the wall clock has jumped ahead.
var ErrClockCeiling = errors.New("the clock has reached its saved ceiling")

// Clock is a hybrid logical clock: it follows the wall clock, never goes
// back, and never gives the same reading twice. It is safe for concurrent use.
type Clock struct {
	wall    func() time.Time
	last    atomic.Uint64 // the highest reading given or observed
	ceiling atomic.Uint64 // no reading above it is given; 0: there is none
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

// Begin makes every later reading be above Unix millisecond ms: the ceiling
// that an earlier process of this node has left.
func (c *Clock) Begin(ms int64) {
	raise(&c.last, Reading(ms)|1<<counterBits-1)
}

// Limit raises the ceiling to Unix millisecond ms. Whoever keeps it calls it
// once it is saved, so that a later process begins above all readings given.
func (c *Clock) Limit(ms int64) { raise(&c.ceiling, Reading(ms)) }

// Reading returns the lowest reading of a Unix millisecond, as in [Version.Time].
func Reading(ms int64) uint64 {
	return uint64(max(ms, 0)) << counterBits // a time before 1970 would become the highest
}

// raise makes a number at least to.
func raise(number *atomic.Uint64, to uint64) {
	for {
		now := number.Load()
		if to <= now || number.CompareAndSwap(now, to) {
			return
		}
	}
}

// Next reserves n consecutive readings and returns the first. All of them are
// above every reading given or observed before. When the counter overflows it
// carries into the milliseconds, so the clock runs ahead rather than repeat.
// The error is ErrClockCeiling.
func (c *Clock) Next(n int) (uint64, error) {
	wall := Reading(c.Now())
	for {
		last := c.last.Load()
		first := max(last+1, wall)
		end := first + uint64(n) - 1
		if ceiling := c.ceiling.Load(); ceiling != 0 && end >= ceiling {
			return 0, ErrClockCeiling
		}
		if c.last.CompareAndSwap(last, end) {
			return first, nil
		}
	}
}

// Observe makes every later reading be above t, a reading of another clock. One
// that is far ahead of the wall clock is ignored: a clock that is wrong must
// not spread.
func (c *Clock) Observe(t uint64) {
	if t > c.last.Load() && t <= Reading(c.Now()+maxDrift.Milliseconds()) {
		raise(&c.last, t)
	}
}

// Last returns the highest reading given or observed so far: what a node
// tells others, so that their later stamps are above its earlier ones.
func (c *Clock) Last() uint64 { return c.last.Load() }

// Ahead returns by how much a wall clock, in Unix milliseconds, is ahead of
// this one's, where that is more than MaxAhead; else 0.
func (c *Clock) Ahead(wall int64) time.Duration {
	ahead := time.Duration(wall-c.Now()) * time.Millisecond
	if ahead <= MaxAhead {
		return 0
	}
	return ahead
}
