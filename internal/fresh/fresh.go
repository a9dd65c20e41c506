// Package fresh closes connections to an http.Server that nobody has asked
// anything on, when the server is to end: Shutdown waits up to five seconds for
// such a one, in case that a request is on its way. HTTP clients dial more
// connections than they use, so many restarts would take that much longer.
package fresh

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is how long a request has to arrive that is on its way when the server
// is to end.
const patience = 200 * time.Millisecond

// Conns are the connections of a server that are fresh. The zero Conns is ready to
// use, and safe for concurrent use.
type Conns struct {
	mu     sync.Mutex // guards what follows
	open   map[net.Conn]struct{}
	closed bool
}

// Follow takes in that a connection has changed its state: it is, or is called by,
// the server's ConnState.
func (c *Conns) Follow(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(c.open, conn)
	case c.closed:
		_ = conn.Close() // so that it is not served
	default:
		if c.open == nil {
			c.open = map[net.Conn]struct{}{}
		}
		c.open[conn] = struct{}{}
	}
}

// Close closes, in a moment, those that are still fresh then, and those that come
// later. It does not wait for that. The server is to be shut down next.
func (c *Conns) Close() { time.AfterFunc(patience, c.close) }

func (c *Conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Close() // nothing was asked
	}
}
