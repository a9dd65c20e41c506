// Package fresh closes connections to an http.Server that nobody has asked
// anything on, when the server is to end: Shutdown waits up to five seconds for
// such a one, in case that a request is on its way. HTTP clients dial more
// connections than they use, so many restarts would take that much longer.
package fresh

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a request has to arrive that is on its way when the server
// is to end.
const patience = 200 * time.Millisecond

// Conns are the connections of a server that are fresh. The zero Conns is ready to
// use, and safe for concurrent use. Follow is called twice a request, so it takes
// no lock.
type Conns struct {
	open   sync.Map // net.Conn to nil
	closed atomic.Bool
}

// Follow takes in that a connection has changed its state: it is, or is called by,
// the server's ConnState.
func (c *Conns) Follow(conn net.Conn, state http.ConnState) {
	if state != http.StateNew {
		c.open.Delete(conn)
		return
	}
	c.open.Store(conn, nil)
	if c.closed.Load() {
		_ = conn.Close() // so that it is not served
	}
}

// Close closes, in a moment, those that are still fresh then, and those that come
// later. It does not wait for that. The server is to be shut down next.
func (c *Conns) Close() { time.AfterFunc(patience, c.close) }

func (c *Conns) close() {
	c.closed.Store(true)
	c.open.Range(func(conn, _ any) bool {
		_ = conn.(net.Conn).Close() // nothing was asked
		return true
	})
}
