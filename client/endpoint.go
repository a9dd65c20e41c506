package client

import (
	"sync/atomic"
	"time"
)

// How long a node is passed over after a failure, where others are left.
const restAfterFailure = time.Second

// endpoint is a node as this client reaches it.
type endpoint struct {
	scheme, host string

	// In Unix nanoseconds: until when other nodes are preferred to this one,
	// and until when it asked to be left alone.
	rests, refuses atomic.Int64
}

func (e *endpoint) String() string { return e.scheme + "://" + e.host }

// note remembers that a try at now failed, and that the node asked to be left
// alone for after.
func (e *endpoint) note(now time.Time, after time.Duration) {
	e.rests.Store(now.Add(max(after, restAfterFailure)).UnixNano())
	e.refuses.Store(now.Add(after).UnixNano())
}

// pick returns the node for try number attempt, from 0, of a request that
// began at node start, and how long to wait before.
//
// Nodes take turns; one that rests is passed over unless all do, and then the
// one that rests shortest is taken. The first try never waits. A later one
// waits until the node is willing, and once each node has had its turn, for a
// while that grows.
func pick(nodes []*endpoint, start, attempt int, now time.Time) (*endpoint, time.Duration) {
	var best *endpoint
	for i := range nodes {
		n := nodes[(start+attempt+i)%len(nodes)]
		if n.rests.Load() <= now.UnixNano() {
			best = n
			break
		}
		if best == nil || n.rests.Load() < best.rests.Load() {
			best = n
		}
	}
	if attempt == 0 {
		return best, 0
	}
	wait := max(0, time.Duration(best.refuses.Load()-now.UnixNano()))
	if round := attempt / len(nodes); round > 0 {
		wait = max(wait, backoff(round))
	}
	return best, wait
}

// backoff returns how long to wait before going round the nodes again: 50 ms,
// 100 ms, 200 ms, and so on up to a second.
func backoff(round int) time.Duration {
	return min(time.Second, 50*time.Millisecond<<min(round-1, 10))
}
