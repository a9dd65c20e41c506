package node

import (
	"sync/atomic"
	"time"
)

// doubtful is for how long a node that may have missed writes does not trust
// what it holds itself.
const doubtful = 5 * time.Second

// doubts says whether this node may have missed writes of keys that it owns:
// after its start, and after others came or went, for they may have coordinated
// in its place.
type doubts struct{ until atomic.Int64 } // Unix nanoseconds

// raise begins a time of doubt.
func (d *doubts) raise() { d.until.Store(time.Now().Add(doubtful).UnixNano()) }

// any reports whether it is one.
func (d *doubts) any() bool {
	until := d.until.Load()
	return until != 0 && time.Now().UnixNano() < until
}
