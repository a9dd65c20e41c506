package peer

import (
	"bytes"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// place is where a pending call stands in its lane.
type place uint8

const (
	atDoor   place = iota // waits for room in the queue
	inQueue               // waits for a frame
	inFlight              // part of the frame that is sent or answered
)

// pending is a call on its way. The rule for its buffers: the lane reads the
// operations and writes the results only while it holds mu and gone is not
// set; a caller that leaves sets gone under mu, and from then on the buffers
// are its own again.
type pending struct {
	ring, read uint64
	total      int // operations
	size       int // bytes, as the queue counts them
	deadline   time.Time
	place      place // guarded by the lane's mu

	// Of the lane, and there of whoever sends or reads its current frame. It is
	// changed under mu.
	sent int // operations that a frame took so far

	// done receives once, when the call has ended and its caller has not left.
	// Nobody but the caller touches the pending after that.
	done chan struct{}

	mu    sync.Mutex // guards all below
	call  *Call
	gone  bool // the caller has left
	ended bool
	err   error
}

// pool keeps pendings that can be used again. One whose caller left is not put
// back: its lane may still hold it.
type pool struct{ free sync.Pool }

func (o *pool) get(call *Call, deadline time.Time) *pending {
	p, ok := o.free.Get().(*pending)
	if !ok {
		p = &pending{done: make(chan struct{}, 1)}
	}
	p.call, p.ring, p.read, p.total, p.deadline = call, call.Ring, call.Read, len(call.Ops), deadline
	for i := range call.Ops {
		p.size += opSize(&call.Ops[i])
	}
	return p
}

// put takes back a pending once done has received, or where it never entered a
// lane. It returns the error that the call ended with.
func (o *pool) put(p *pending) error {
	err := p.err
	*p = pending{done: p.done}
	o.free.Put(p)
	return err
}

// leave gives the caller its buffers back, and returns whether a frame took
// anything of the call, for none will any more. It returns false as left where
// the call has ended meanwhile, and done is about to receive.
func (p *pending) leave() (sent, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = !p.ended
	return p.sent > 0, p.gone
}

// isGone reports whether the caller has left.
func (p *pending) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// end ends the call, where its caller has not left.
func (p *pending) end(err error) {
	p.mu.Lock()
	tell := !p.gone && !p.ended
	p.ended = true
	p.err = err
	p.mu.Unlock()
	if tell {
		p.done <- struct{}{}
	}
}

// encode appends to dst as many of the operations that were not sent yet as
// fit into room bytes and into ops, but at least one where must is set. It
// returns how many.
func (p *pending) encode(dst []byte, now time.Time, room, ops int, must bool) ([]byte, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return dst, 0
	}
	rest := p.call.Ops[p.sent:]
	n := 0
	for n < min(len(rest), ops) {
		if room -= opSize(&rest[n]); room < 0 && (n > 0 || !must) {
			break
		}
		n++
	}
	if n > 0 {
		dst = appendCall(dst, p.deadline.Sub(now), p.ring, p.read, rest[:n])
		p.sent += n
	}
	return dst, n
}

// fill copies results, which point into a frame, to the call from its
// operation lo on.
func (p *pending) fill(lo int, results []kv.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	for i := range results {
		from, to := &results[i], &p.call.Results[lo+i]
		*to = *from
		to.Entry.Value = bytes.Clone(from.Entry.Value)
		if entryFlags(&from.Entry) != 0 {
			to.Entry.Key = p.call.Ops[lo+i].Key
		}
	}
}
