package peer

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one connection to a peer and what waits for it. At most one frame
// is in flight; whatever gathers meanwhile is the next one.
//
// While it is connected, a goroutine of its own sits in read. It takes the
// replies, and after each it sends what has gathered. A call that finds the
// lane idle is sent by its caller, which spares it a change of goroutine.
// Whoever sets flight owns the stream's frame until the reply has begun, when
// it becomes the reader's.
type lane struct {
	c  *Client
	id Lane

	// For Silent, in nanoseconds since the client was made; 0 is never.
	asked atomic.Int64 // since when something is queued or in flight
	heard atomic.Int64 // when anything came last

	mu      sync.Mutex // guards all below; never held over I/O
	door    []*pending // wait for room in queue, in order
	queue   []*pending // wait for a frame, in order
	bytes   int        // of the calls in queue and in flight
	running bool       // the goroutine exists
	stream  *stream    // nil unless connected
	circuit circuit
	closed  bool
}

// callerSends is the size in bytes of the largest call that its caller sends.
// On an idle connection the kernel takes as much at once, so that a peer which
// stalls does not hold the caller in a write.
const callerSends = 16 << 10

// enter takes p in, and starts the goroutine where there is none. Where it
// returns a stream, the lane was idle and p is in flight: the caller must call
// transmit at once.
func (l *lane) enter(p *pending) (*stream, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admits(now); err != nil {
		return nil, err
	}
	if l.bytes > 0 && (len(l.door) > 0 || l.bytes+p.size > l.c.cfg.QueueBytes) {
		if l.id.ofReplicas() {
			return nil, l.c.full
		}
		l.door = append(l.door, p)
		return nil, nil
	}
	if l.bytes == 0 {
		l.asked.Store(l.c.age(now))
	}
	l.bytes += p.size
	if s := l.stream; s != nil && !s.flight {
		p.place = inFlight
		s.frame.parts = append(s.frame.parts[:0], part{p: p})
		s.takeOff(now)
		s.senders.Add(1)
		if p.size > callerSends {
			l.c.group.Go(s.transmit)
			return nil, nil
		}
		return s, nil
	}
	p.place = inQueue
	l.queue = append(l.queue, p)
	if !l.running {
		l.running = true
		l.c.group.Go(l.run)
	}
	return nil, nil
}

// admits returns the error of a call that comes now, or nil. While one call
// tries a peer that failed before, others fail at once: they would only wait
// for the next failure. The caller holds mu.
func (l *lane) admits(now time.Time) error {
	switch {
	case l.closed:
		return &unsent{l.c.failure(errClosed)}
	case l.running && (l.stream == nil || l.stream.flight):
		return l.circuit.err // nil while the circuit is closed
	case !l.running:
		return l.circuit.refuses(now)
	}
	return nil
}

// leave takes p out for a caller that waits no longer. It returns what kept p
// from being sent, nil where any of it was sent, and whether it has left: false
// means that it has ended meanwhile.
func (l *lane) leave(p *pending) (why error, left bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, left := p.leave()
	if !left {
		return nil, false
	}
	why = ErrUnavailable
	switch p.place {
	case atDoor:
		l.door, _ = remove(l.door, p)
		why = ErrOverloaded
	case inQueue:
		var found bool
		// It is not there where the connection has ended, and with it all that
		// waited.
		if l.queue, found = remove(l.queue, p); found {
			l.bytes -= p.size
		}
	}
	l.open()
	l.settle()
	if sent {
		why = nil
	}
	return why, true
}

// settle notes where nothing is asked of the peer any more. The caller holds
// mu.
func (l *lane) settle() {
	if l.bytes == 0 {
		l.asked.Store(0)
	}
}

// silent returns for how long something has been asked, when the client was of
// this age, and nothing come.
func (l *lane) silent(age int64) time.Duration {
	asked := l.asked.Load()
	if asked == 0 {
		return 0
	}
	return time.Duration(max(0, age-max(asked, l.heard.Load())))
}

func remove(list []*pending, p *pending) ([]*pending, bool) {
	if i := slices.Index(list, p); i >= 0 {
		return slices.Delete(list, i, i+1), true
	}
	return list, false
}

// open moves to the queue what has room there. The caller holds mu.
func (l *lane) open() {
	n := 0
	for n < len(l.door) && (l.bytes == 0 || l.bytes+l.door[n].size <= l.c.cfg.QueueBytes) {
		p := l.door[n]
		p.place = inQueue
		l.bytes += p.size
		l.queue = append(l.queue, p)
		n++
	}
	l.door = slices.Delete(l.door, 0, n)
}

// next ends the frame in flight and takes from the queue what the next one may
// carry. It returns false where the lane is idle now.
func (l *lane) next(s *stream) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requeue(&s.frame)
	s.flight = false
	l.open()
	l.settle()
	n, room := 0, l.c.cfg.FrameBytes
	for n < len(l.queue) && n < maxFrameOps && room > 0 {
		p := l.queue[n]
		p.place = inFlight
		s.frame.parts = append(s.frame.parts, part{p: p})
		room -= p.size
		n++
	}
	l.queue = slices.Delete(l.queue, 0, n)
	if n > 0 {
		s.takeOff(now)
	}
	return n > 0
}

// requeue empties f, and puts calls that have more to send back into the
// queue: to its end, so that a large one does not keep the others waiting, but
// to its front where there was no room for any of it. The caller holds mu.
func (l *lane) requeue(f *frame) {
	l.bytes -= f.finished
	f.finished = 0
	first := 0
	for _, part := range f.parts {
		if part.p == nil {
			continue
		}
		part.p.place = inQueue
		if part.n > 0 {
			l.queue = append(l.queue, part.p)
			continue
		}
		l.queue = slices.Insert(l.queue, first, part.p)
		first++
	}
	clear(f.parts)
	f.parts = f.parts[:0]
}

// run connects, serves the connection until it ends, and fails what waits.
func (l *lane) run() {
	s, err := l.c.connect(l)
	if err != nil {
		l.ended(nil, err)
		return
	}
	if err = l.attach(s); err == nil {
		err = s.run()
	}
	_ = s.conn.Close() // it is of no more use, whatever it says
	l.mu.Lock()
	l.stream = nil // nobody begins to send from here on
	l.mu.Unlock()
	s.senders.Wait()
	l.ended(s, err)
}

// attach makes s the lane's stream. It begins in flight, so that what waits
// already is sent before anybody finds the lane idle.
func (l *lane) attach(s *stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	s.flight = true
	l.stream = s
	l.heard.Store(l.c.age(time.Now())) // the answer to the handshake
	return nil
}

// ended fails everything that waits, once the goroutine is about to end and
// nobody sends. A connection that ended while nothing was asked of it does
// not open the circuit: the peer may be back already.
func (l *lane) ended(s *stream, err error) {
	bye := errors.Is(err, errGoodbye)
	err = l.c.failure(err)
	fresh := &unsent{err} // of calls that nothing was sent of
	l.mu.Lock()
	failed := slices.Concat(l.queue, l.door)
	if s != nil {
		for _, part := range s.frame.parts {
			if part.p == nil {
				continue
			}
			if bye && part.answered == 0 {
				part.p.sent -= part.n // the peer has not looked at it
			}
			failed = append(failed, part.p)
		}
	}
	if s == nil || s.flight || len(failed) > 0 {
		l.circuit.failed(time.Now(), fresh, rand.Float64())
	}
	l.queue, l.door, l.bytes, l.running = nil, nil, 0, false
	l.settle()
	l.mu.Unlock()
	for _, p := range failed {
		if p.sent == 0 {
			p.end(fresh)
		} else {
			p.end(err)
		}
	}
	l.c.log.Debug("stream ended", "lane", l.id, "failed", len(failed), "error", err)
}

// close refuses further calls and ends the connection. The goroutine fails
// what waits.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.stream != nil {
		_ = l.stream.conn.Close()
	}
}
