package nodetest

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// window is how many bytes of one direction may be under way or wait to be
// read, in one connection: what the buffers of two kernels may hold.
const window = 4 << 20

// pipe is a connection: two ends, and a half for each direction. The
// network's mu guards all of it.
type pipe struct {
	ends   [2]conn
	halves [2]half
}

// conn is one end of a pipe.
type conn struct {
	pipe            *pipe
	net             *Network
	host            *Host
	peer            string // name of the other host
	in, out         *half
	closed          bool
	readBy, writeBy time.Time // deadlines; zero: none
}

// half is one direction of a pipe.
type half struct {
	link   *link
	from   string
	queue  []packet
	size   int       // bytes in queue
	last   time.Time // when the last of queue arrives
	broken bool      // the connection is reset
	unread bool      // nobody will read it any more
	wake   signal    // rung when anything of this changes
}

// packet is bytes that were written together.
type packet struct {
	data    []byte
	arrives time.Time
	end     bool // nothing follows
	lost    bool // the connection breaks when it is due
	held    bool // it was written while its host was paused, and leaves when that goes on
}

// newPipe returns a connection from one host to another. The caller holds mu.
func newPipe(n *Network, from, to *Host) *pipe {
	p := &pipe{}
	p.halves = [2]half{
		{link: n.link(from.name, to.name), from: from.name},
		{link: n.link(to.name, from.name), from: to.name},
	}
	p.ends = [2]conn{
		{pipe: p, net: n, host: from, peer: to.name, in: &p.halves[1], out: &p.halves[0]},
		{pipe: p, net: n, host: to, peer: from.name, in: &p.halves[0], out: &p.halves[1]},
	}
	return p
}

// joins reports whether the connection is one between two hosts.
func (p *pipe) joins(a, b string) bool {
	one, other := p.ends[0].host.name, p.ends[1].host.name
	return one == a && other == b || one == b && other == a
}

func (p *pipe) ring() {
	for i := range p.halves {
		p.halves[i].wake.ring()
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return c.io(c.in, func(now time.Time) (int, time.Time, error) { return c.read(b, now) })
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	for written := 0; written < len(b); {
		n, err := c.io(c.out, func(now time.Time) (int, time.Time, error) { return c.write(b[written:], now) })
		written += n
		if err != nil {
			return written, err
		}
	}
	return len(b), nil
}

// io does a step again and again until it is done: until it has done something
// or has failed. at is when it may have become possible by itself.
func (c *conn) io(h *half, step func(now time.Time) (n int, at time.Time, err error)) (int, error) {
	for {
		c.net.mu.Lock()
		n, at, err := step(time.Now())
		if n > 0 || err != nil {
			c.net.mu.Unlock()
			return n, err
		}
		wake := h.wake.wait()
		c.net.mu.Unlock()
		_ = sleepUntil(context.Background(), at, wake) // nil, for nobody ends that context
	}
}

// never is when something does not become possible by itself.
var never time.Time

// read is one step of Read.
func (c *conn) read(b []byte, now time.Time) (int, time.Time, error) {
	h := c.in
	switch {
	case c.closed:
		return 0, never, net.ErrClosed
	case c.net.paused[c.host.name] && !c.host.gone:
		return 0, never, nil
	case over(c.readBy, now):
		return 0, never, os.ErrDeadlineExceeded
	case c.host.gone, h.broken && h.link.cut != Stall:
		return 0, never, syscall.ECONNRESET
	case h.link.cut == Stall, len(h.queue) == 0:
		return 0, c.readBy, nil
	}
	p := &h.queue[0]
	switch {
	case p.held && c.net.paused[h.from]:
		return 0, c.readBy, nil
	case now.Before(p.arrives):
		return 0, first(p.arrives, c.readBy), nil
	case p.lost:
		c.net.reset(c.pipe)
		return 0, never, syscall.ETIMEDOUT
	case p.end:
		return 0, never, io.EOF
	}
	n := copy(b, p.data)
	p.data, h.size = p.data[n:], h.size-n
	if len(p.data) == 0 {
		h.queue = h.queue[1:]
	}
	h.wake.ring()
	return n, never, nil
}

// write is one step of Write. That of a paused host does not wait: whoever
// writes may hold a lock, and what is written leaves later.
func (c *conn) write(b []byte, now time.Time) (int, time.Time, error) {
	h := c.out
	switch {
	case c.closed:
		return 0, never, net.ErrClosed
	case over(c.writeBy, now):
		return 0, never, os.ErrDeadlineExceeded
	case c.host.gone, h.broken && c.in.link.cut != Stall, h.unread && c.hears():
		return 0, never, syscall.ECONNRESET
	case h.broken: // and nothing has told us
		return 0, c.writeBy, nil
	case h.size >= window:
		return 0, c.writeBy, nil
	}
	n := min(len(b), window-h.size)
	h.send(c.net, now, packet{data: append([]byte(nil), b[:n]...)})
	return n, never, nil
}

// hears reports whether the other host can say that it does not want what
// comes.
func (c *conn) hears() bool {
	return c.out.link.cut == Open && c.in.link.cut == Open && !c.net.paused[c.peer]
}

// send puts a packet on its way.
func (h *half) send(n *Network, now time.Time, p packet) {
	d, lost := n.underway(h.link)
	p.arrives, p.lost, p.held = now.Add(d), lost, n.paused[h.from]
	if p.arrives.Before(h.last) {
		p.arrives = h.last
	}
	h.last = p.arrives
	h.queue = append(h.queue, p)
	h.size += len(p.data)
	h.wake.ring()
}

// Close implements net.Conn. What was written is still delivered.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if !c.out.broken {
		c.out.send(c.net, time.Now(), packet{end: true})
	}
	c.in.unread = true
	c.in.queue, c.in.size = nil, 0
	c.pipe.ring()
	if c.pipe.ends[0].closed && c.pipe.ends[1].closed {
		delete(c.net.conns, c.pipe)
	}
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readBy, c.writeBy = t, t })
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readBy = t })
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.writeBy = t })
}

func (c *conn) setDeadlines(set func()) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	set()
	c.pipe.ring()
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return address(Addr(c.host.name)) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return address(Addr(c.peer)) }

// over reports whether a deadline, where there is one, has passed.
func over(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// first returns the earlier of two times, of which the second may be none.
func first(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
