package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// readsAtOnce is how many operations that read are served before their results
// are sent: their values are held in memory meanwhile.
const readsAtOnce = 128

// session is the served end of a stream. One goroutine reads a frame, serves
// its calls and sends the results; another says every now and then that the
// first is still at it.
type session struct {
	server *Server
	lane   Lane
	peer   string // who asks
	meant  uint64 // the storage identity that it asks; 0 is any
	conn   net.Conn
	r      *bufio.Reader

	// Of the first goroutine while it is at a frame, else guarded by mu.
	in, out []byte
	req     request
	results []kv.Result

	mu sync.Mutex // guards all below, and the order of frames
	w  stallWriter
	at progress
}

// progress is how far a session has come.
type progress struct {
	frame uint64 // number of the frame that came last
	done  bool   // whether it was answered
}

// stream turns a request into a session, and runs it.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	lane, err := strconv.ParseUint(r.Header.Get(headerLane), 10, 8)
	if want := r.Header.Get("Upgrade"); want != protocol {
		w.Header().Set("Upgrade", protocol)
		if !strings.HasPrefix(want, protocolFamily) {
			err = errors.New("a stream needs an upgrade to " + protocol)
		} else {
			err = fmt.Errorf("this node speaks %s, not %s", protocol, want)
		}
		fail(w, http.StatusUpgradeRequired, err)
		return
	}
	if err != nil || lane >= laneCount {
		fail(w, http.StatusBadRequest, errors.New("no such lane"))
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	defer func() { _ = conn.Close() }() // it is of no more use, whatever it says
	t := &session{
		server: s, lane: Lane(lane), conn: conn,
		peer:  header(r.Header, headerFrom),
		meant: storageOf(r.Header, headerToStorage),
		r:     bufio.NewReaderSize(conn, bufferSize),
		w:     stallWriter{conn: conn, stall: s.cfg.Stall},
		at:    progress{done: true},
	}
	log := s.cfg.Logger.With("peer", t.peer, "addr", conn.RemoteAddr(), "lane", lane)
	log.Debug("stream opened")
	err = errUnasked
	if rw.Reader.Buffered() == 0 { // a client waits for the answer
		err = t.run(r.Context(), w.Header())
	}
	log.Debug("stream ended", "error", err)
}

// run answers the handshake and serves frames until the connection ends. ctx
// is the server's: it ends where the session is to be cut short.
func (t *session) run(ctx context.Context, h http.Header) error {
	if err := t.welcome(h); err != nil {
		return err
	}
	if !t.server.enroll(t) {
		return errEnding
	}
	defer t.server.dismiss(t)
	t.release()
	var beating sync.WaitGroup
	defer beating.Wait()
	over := make(chan struct{})
	defer close(over)
	beating.Go(func() { t.beats(over) })
	for {
		err := t.frame(ctx)
		if errors.Is(err, errEnding) {
			t.leave()
		}
		if err != nil {
			return err
		}
	}
}

// goodbyeGrace is how long a session that has said goodbye waits for the peer to
// hang up.
const goodbyeGrace = time.Second

// leave says goodbye. What comes until the peer has heard it is thrown away: if
// this node hung up first, what the peer has just sent might destroy the word on
// its way.
func (t *session) leave() {
	clock := t.server.cfg.Clock
	t.mu.Lock()
	_, err := t.w.Write(goodbye(clock.Last(), clock.Now()))
	t.mu.Unlock()
	if err == nil && t.conn.SetReadDeadline(time.Now().Add(goodbyeGrace)) == nil {
		_, _ = io.Copy(io.Discard, t.r) // until it hangs up, or does not
	}
}

// ending is the error of reading from a peer: errEnding where it is the server
// that has no more patience for it.
func (t *session) ending(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errEnding
	}
	return err
}

// welcome answers the handshake with the headers h.
func (t *session) welcome(h http.Header) error {
	head := &strings.Builder{}
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", protocol)
	_ = h.Write(head) // a strings.Builder
	head.WriteString("\r\n")
	_, err := io.WriteString(&t.w, head.String())
	return err
}

// frame waits for a frame, and serves it.
func (t *session) frame(ctx context.Context) error {
	if _, err := t.r.Peek(1); err != nil {
		return t.ending(err)
	}
	t.mu.Lock()
	t.at = progress{frame: t.at.frame + 1}
	t.mu.Unlock()
	var err error
	if t.in, err = readFrame(t.r, t.in, t.server.cfg.MaxFrame); err != nil {
		return t.ending(err)
	}
	if err := decodeRequest(t.in, &t.req); err != nil {
		return err
	}
	if err := t.objects(); err != nil {
		return t.refuse(err)
	}
	return t.answer(ctx, time.Now())
}

// objects returns why the frame is not served, or takes in its sender's clock.
func (t *session) objects() error {
	cfg := &t.server.cfg
	if err := sameStorage(t.meant, cfg.Self.Storage()); err != nil {
		return err // the node has taken a new identity since the handshake
	}
	theirs, ours := t.req.wall, cfg.Clock.Now()
	switch {
	case !isAhead(theirs, ours):
		cfg.Clock.Observe(t.req.clock)
	case t.lane.ofReplicas():
		return fmt.Errorf("%w: that of %s is %d ms ahead of that of %s", ErrClock, t.peer, theirs-ours, cfg.Self.Name)
	}
	return nil
}

// refuse answers each operation of the frame with err.
func (t *session) refuse(err error) error {
	for range t.req.ops {
		if err := t.append([]kv.Result{{Err: err}}); err != nil {
			return err
		}
	}
	return t.flush(true)
}

// release lets go of what the last frame took.
func (t *session) release() {
	t.in, t.out, t.req, t.results = nil, beginReply(nil), request{}, nil
}

// answer serves the calls of a frame that came at now, and sends the results.
func (t *session) answer(ctx context.Context, now time.Time) error {
	limit := maxFrameOps
	if t.reads() {
		limit = readsAtOnce
	}
	for calls := t.req.calls; len(calls) > 0; {
		var c wireCall
		c, calls = merge(calls, limit)
		if err := t.append(t.serve(ctx, now.Add(c.left), c)); err != nil {
			return err
		}
	}
	return t.flush(true)
}

// reads reports whether the results of the frame have values.
func (t *session) reads() bool {
	switch t.lane {
	case Reads, ReplicaReads:
		return true
	case ReplicaWrites:
		for i := range t.req.ops {
			if t.req.ops[i].Verb == kv.Promise {
				return true
			}
		}
	}
	return false
}

// merge takes from the front of calls what is served at once, at most limit
// operations: a part of a call, or neighbours of the same ring versions, under
// the latest of their deadlines. It returns the rest.
func merge(calls []wireCall, limit int) (wireCall, []wireCall) {
	c := calls[0]
	if c.hi-c.lo > limit {
		c.hi = c.lo + limit
		calls[0].lo = c.hi
		return c, calls
	}
	n := 1
	for ; n < len(calls); n++ {
		next := &calls[n]
		if next.ring != c.ring || next.read != c.read || (next.left > 0) != (c.left > 0) || next.hi-c.lo > limit {
			break
		}
		c.hi, c.left = next.hi, max(c.left, next.left)
	}
	return c, calls[n:]
}

// serve performs the operations of c and returns their results.
func (t *session) serve(ctx context.Context, deadline time.Time, c wireCall) []kv.Result {
	n := c.hi - c.lo
	if cap(t.results) < n {
		t.results = make([]kv.Result, n)
	}
	results := t.results[:n]          // all zero: see append
	if !time.Now().Before(deadline) { // nobody waits for it any more
		for i := range results {
			results[i].Err = context.DeadlineExceeded
		}
		return results
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	t.server.handler.Serve(ctx, &Call{
		Lane: t.lane, Ring: c.ring, Read: c.read, Ops: t.req.ops[c.lo:c.hi], Results: results,
	})
	return results
}

// append encodes results, and sends them as far as they fill frames.
func (t *session) append(results []kv.Result) error {
	cfg := &t.server.cfg
	for i := range results {
		r := &results[i]
		size := resultSize(r)
		if size > cfg.MaxFrame-frameOverhead {
			*r = kv.Result{Err: fmt.Errorf("%w: above the %d bytes of a frame", kv.ErrTooLarge, cfg.MaxFrame)}
			size = 0
		}
		if len(t.out) > lengthSize+replyHeader && len(t.out)+size > cfg.FrameBytes {
			if err := t.flush(false); err != nil {
				return err
			}
		}
		t.out = appendResult(t.out, r)
	}
	clear(results) // for the next, and to let go of the values
	return nil
}

// flush sends the reply frame that was built and begins another. After the
// last one the peer may ask again.
func (t *session) flush(last bool) error {
	endReply(t.out, t.server.cfg.Clock.Last(), t.server.cfg.Clock.Now(), last)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.w.Write(t.out)
	t.out = beginReply(t.out)
	t.at.done = last
	return err
}

// beats looks after the first goroutine until over is closed.
func (t *session) beats(over <-chan struct{}) {
	ticker := time.NewTicker(t.server.cfg.Stall / 4)
	defer ticker.Stop()
	var seen progress
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
			seen = t.beat(seen)
		}
	}
}

// beat looks where the session is, and returns it. Where that is a frame that
// was seen there last time, it sends a reply without results: the peer is to
// know that somebody is at work. Where nothing came since, it lets go of
// memory.
func (t *session) beat(seen progress) progress {
	if !t.mu.TryLock() { // a reply is on its way
		return progress{}
	}
	defer t.mu.Unlock()
	switch {
	case t.at != seen:
	case t.at.done:
		t.release()
	default:
		frame := beginReply(nil)
		endReply(frame, t.server.cfg.Clock.Last(), t.server.cfg.Clock.Now(), false)
		if _, err := t.w.Write(frame); err != nil {
			_ = t.conn.Close() // or a reply would follow a torn frame
		}
	}
	return t.at
}
