package peer

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// answerGrace is how long after the last deadline of a frame its reply may
// come: a peer that is well answers "deadline exceeded" just then.
const answerGrace = 500 * time.Millisecond

// Why a connection is given up.
var (
	errClosed  = errors.New("this node is shutting down")
	errStalled = errors.New("the peer does not answer")
	errUnasked = errors.New("the peer answers what was not asked")
	errMissing = errors.New("the peer answers less than was asked")
	errGoodbye = errors.New("the peer is shutting down")
)

// stream is a connection of a lane, after the handshake.
type stream struct {
	lane  *lane
	conn  net.Conn
	r     *bufio.Reader
	w     stallWriter
	in    []byte // the reply frame
	rep   reply
	heard time.Time // when the reader last got anything
	// senders counts the goroutines other than the reader that send.
	senders sync.WaitGroup
	frame   frame // of whoever set flight, then of the reader

	// Guarded by the lane's mu.
	flight bool
	watch  watch
}

// frame is what is sent and answered at one time.
type frame struct {
	out      []byte
	parts    []part
	want     int // results that have not come yet
	at       int // the part that the next of them belongs to
	finished int // bytes of the calls that ended with this frame
}

// part is the share of a frame that one call has: n operations from lo on, of
// which answered have their results. p is nil once the call has ended.
type part struct {
	p        *pending
	lo, n    int
	answered int
}

// watch is how long the frame in flight is waited for.
type watch struct {
	number   uint64    // of the frame, counted from 1
	asked    time.Time // when it was sent
	deadline time.Time // the latest of its calls, and some grace
	alarm    time.Time // the connection's read deadline; zero: none
}

// takeOff notes that s.frame is in flight since now. The caller holds the
// lane's mu.
func (s *stream) takeOff(now time.Time) {
	s.flight, s.frame.at, s.watch.asked = true, 0, now
	s.watch.number++
	var last time.Time
	for i := range s.frame.parts {
		if d := s.frame.parts[i].p.deadline; d.After(last) {
			last = d
		}
	}
	s.watch.deadline = last.Add(answerGrace)
	at := earlier(now.Add(s.lane.c.cfg.Stall), s.watch.deadline)
	if s.watch.alarm.IsZero() || at.Before(s.watch.alarm) {
		s.setAlarm(at)
	}
}

// setAlarm wakes the reader at a time. Alarms are left standing and judged
// when they ring, so that a frame seldom costs a timer.
func (s *stream) setAlarm(at time.Time) {
	s.watch.alarm = at
	_ = s.conn.SetReadDeadline(at) // fails on a closed connection only, and then read fails
}

// transmit sends the frame of a caller that found the lane idle. An error is
// left to the reader, which fails the calls.
func (s *stream) transmit() {
	defer s.senders.Done()
	if err := s.send(); err != nil {
		_ = s.conn.Close()
	}
}

// send writes s.frame, or the next one where all callers of this
// one have left.
func (s *stream) send() error {
	for {
		if s.encode(time.Now()) {
			_, err := s.w.Write(s.frame.out)
			return err
		}
		if !s.lane.next(s) {
			return nil
		}
	}
}

// encode builds the frame. It reports whether there is anything in it.
func (s *stream) encode(now time.Time) bool {
	cfg, f := &s.lane.c.cfg, &s.frame
	f.out = appendRequestHeader(beginFrame(f.out), cfg.Clock.Last(), cfg.Clock.Now())
	ops := maxFrameOps
	for i := range f.parts {
		part := &f.parts[i]
		part.lo = part.p.sent
		f.out, part.n = part.p.encode(f.out, now, cfg.FrameBytes-len(f.out), ops, ops == maxFrameOps)
		ops -= part.n
		if part.n == 0 && part.p.isGone() {
			f.finished += part.p.size
			part.p = nil
		}
	}
	endFrame(f.out)
	f.want = maxFrameOps - ops
	return f.want > 0
}

// run sends what is queued and reads replies until the connection ends.
func (s *stream) run() error {
	for {
		if err := s.pump(); err != nil {
			return err
		}
		for last := false; !last; {
			var err error
			if last, err = s.receive(); err != nil {
				return err
			}
		}
	}
}

// receive reads a reply frame. It reports whether it was the last one of the
// frame in flight. One without results only says that the peer is at work.
func (s *stream) receive() (last bool, err error) {
	if s.in, err = readFrame(s.r, s.in, s.lane.c.cfg.MaxFrame); err != nil {
		return false, err
	}
	if isGoodbye(s.in) {
		return false, errGoodbye
	}
	number, ok := s.answered()
	s.senders.Wait() // the write may not have returned yet, or its caller left before
	if again, still := s.answered(); !ok || !still || number != again {
		return false, errUnasked
	}
	if err := decodeReply(s.in, &s.rep); err != nil {
		return false, err
	}
	observe(s.lane.c.cfg.Clock, s.rep.clock, s.rep.wall)
	s.lane.c.ahead.Store(isAhead(s.rep.wall, s.lane.c.cfg.Clock.Now()))
	switch n := len(s.rep.results); {
	case n > s.frame.want:
		return false, errUnasked
	case n < s.frame.want && s.rep.last:
		return false, errMissing
	}
	s.frame.deliver(s.rep.results)
	return s.rep.last, nil
}

// pump sends the next frame, where anything waits for one.
func (s *stream) pump() error {
	if !s.lane.next(s) {
		return nil
	}
	return s.send()
}

// answered notes that a reply has come. It returns the number of the frame in
// flight, or false where there is none.
func (s *stream) answered() (uint64, bool) {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	if s.flight {
		s.lane.circuit.answered()
	}
	return s.watch.number, s.flight
}

// deliver hands results, which follow those of the replies before, to their
// calls, and ends the calls that have all of theirs. There are at most as many
// as are wanted.
func (f *frame) deliver(results []kv.Result) {
	f.want -= len(results)
	for len(results) > 0 {
		part := &f.parts[f.at]
		n := min(len(results), part.n-part.answered)
		if n == 0 {
			f.at++
			continue
		}
		part.p.fill(part.lo+part.answered, results[:n])
		part.answered += n
		results = results[n:]
		if part.lo+part.answered == part.p.total {
			f.finished += part.p.size
			part.p.end(nil)
			part.p = nil
		}
	}
}

// Read reads from the connection for s.r, and judges the alarms that ring.
func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.conn.Read(p)
		if n > 0 {
			s.heard = time.Now()
			s.lane.heard.Store(s.lane.c.age(s.heard))
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if err := s.rung(time.Now()); err != nil {
			return 0, err
		}
	}
}

// rung judges at now whether the peer has stalled, and sets the next alarm
// where it has not. A peer that is at work says so every quarter of its stall
// time, so silence means that it is not.
func (s *stream) rung(now time.Time) error {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	if !s.flight { // for a while, as a rule: let go of what the last frames took
		s.in, s.rep, s.frame = nil, reply{}, frame{}
		s.setAlarm(time.Time{})
		return nil
	}
	silent := s.watch.asked
	if s.heard.After(silent) {
		silent = s.heard
	}
	at := earlier(silent.Add(s.lane.c.cfg.Stall), s.watch.deadline)
	if !now.Before(at) {
		return errStalled
	}
	s.setAlarm(at)
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
