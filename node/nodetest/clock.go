package nodetest

import (
	"sync/atomic"
	"time"
)

// Clock is the wall clock of a node's machine: time passes on it as it does
// everywhere, from an offset that the test sets. It outlives the node's
// processes. Its methods are safe for concurrent use.
type Clock struct {
	offset atomic.Int64 // nanoseconds
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Jump sets the clock forward, or back where d is negative.
func (c *Clock) Jump(d time.Duration) { c.offset.Add(int64(d)) }

// Set makes the clock be ahead of the true time by d.
func (c *Clock) Set(d time.Duration) { c.offset.Store(int64(d)) }
