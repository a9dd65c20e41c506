package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// conn is a client's connection. Header lines that are given to it stand in
// the response that is written next: net/http copies, sorts and checks each
// header of its own, which for the nine of a GET takes longer than the GET.
//
// It relies on what net/http does on purpose: it buffers a response, so that
// the write that begins it holds its whole status line, and has flushed the
// one before by then.
type conn struct {
	net.Conn
	head  []byte // lines for the next response; for the goroutine that serves
	space []byte // for a write with them

	reading, writing alarm
	deaf             atomic.Bool // nothing more is read
}

// lingering is how long a client that may still be sending has to read its
// answer: what comes once the connection is closed makes its kernel drop what
// it did not read yet. It is net/http's time for the same.
const lingering = 500 * time.Millisecond

func newConn(c net.Conn) *conn {
	now := time.Now()
	return &conn{
		Conn:    c,
		reading: alarm{arm: c.SetReadDeadline, made: now},
		writing: alarm{arm: c.SetWriteDeadline, made: now},
	}
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.reading.set(t), c.writing.set(t))
}

// SetReadDeadline sets the time after which Read fails, zero for never.
func (c *conn) SetReadDeadline(t time.Time) error { return c.reading.set(t) }

// SetWriteDeadline sets the time after which Write fails, zero for never.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.writing.set(t) }

// CloseWrite ends the sending half, where there are halves: net/http does so
// before it closes a connection whose client is still sending, which would
// otherwise lose the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// stopReading makes Read find the end from now on. So the connection is closed
// after the response under way, and net/http, which looks for the end of a
// request's body after its handler, does not wait for it.
func (c *conn) stopReading() { c.deaf.Store(true) }

// Close ends the connection; where the client may still be sending, the sending
// half at once and the other one later. It does not wait: net/http calls it
// under the lock of the whole server too.
func (c *conn) Close() error {
	if c.deaf.Load() && c.CloseWrite() == nil {
		time.AfterFunc(lingering, func() { _ = c.Conn.Close() }) // nobody is left to tell
		return nil
	}
	return c.Conn.Close()
}

// resetOnClose makes Close tell the client that the connection broke.
func (c *conn) resetOnClose() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only where the connection is closed already
	}
}

// Read reads what has come.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.deaf.Load() {
			return 0, io.EOF
		}
		n, err := c.Conn.Read(p)
		if err == nil || n > 0 || !c.reading.tooEarly(err) {
			return n, err
		}
	}
}

// send writes all of p.
func (c *conn) send(p []byte) (sent int, err error) {
	for {
		n, err := c.Conn.Write(p[sent:])
		sent += n
		if err == nil || !c.writing.tooEarly(err) {
			return sent, err
		}
	}
}

// Write sends p, with the lines that wait after its status line.
func (c *conn) Write(p []byte) (int, error) {
	if len(c.head) == 0 || !beginsResponse(p) {
		return c.send(p)
	}
	line := bytes.IndexByte(p, '\n') + 1
	c.space = append(c.space[:0], p[:line]...)
	c.space = append(c.space, c.head...)
	c.space = append(c.space, p[line:]...)
	added := len(c.head)
	c.head = c.head[:0]
	n, err := c.send(c.space)
	if err != nil {
		return min(max(0, n-added), len(p)), err
	}
	return len(p), nil
}

// beginsResponse reports whether p begins with a status line that is not that
// of an interim response, such as 100 Continue.
func beginsResponse(p []byte) bool {
	const version = "HTTP/1.1 "
	return len(p) > len(version) && string(p[:len("HTTP/1.")]) == version[:len("HTTP/1.")] && p[len(version)] != '1'
}

// connKey is the key of a request's *conn in its context.
type connKey struct{}

// withConn is for http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// listener makes a conn of each connection.
type listener struct{ net.Listener }

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// connOf returns the connection that a request came by, nil where it was not
// accepted by a listener of ours.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// addHead adds header lines, each of which ends with \r\n, to a response on c
// or, where that is nil, to w's own.
func addHead(c *conn, w http.ResponseWriter, head []byte) {
	if c != nil {
		c.head = append(c.head, head...)
		return
	}
	h := w.Header()
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(trimEnd(line), []byte(": "))
		h[string(name)] = []string{string(value)}
	}
}
