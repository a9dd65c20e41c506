package memcachekv

import (
	"bufio"
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// errLost is returned where a connection is gone in the middle of a call: the
// call begins anew on one that was checked.
var errLost = errors.New("connection lost")

// address is the one server of a client. Its name is looked up for each
// connection anew, not once as memcache.ServerList does.
type address string

func (a address) Network() string                     { return "tcp" }
func (a address) String() string                      { return string(a) }
func (a address) PickServer(string) (net.Addr, error) { return a, nil }
func (a address) Each(f func(net.Addr) error) error   { return f(a) }

// session is one connection to a server, used by one call at a time. A
// memcache.Client knows no contexts and dials when it likes; one that has a
// single connection of ours can be held to both.
type session struct {
	client *memcache.Client
	epoch  uint64 // of the server when the connection was last checked, or unchecked
	dial   bool   // whether the client may connect

	mu      sync.Mutex // guards what follows
	link    *link      // nil: not connected
	call    context.Context
	aborted bool // call has ended
}

// unchecked is no server's epoch.
const unchecked = math.MaxUint64

// link is a connection of a session.
type link struct {
	net.Conn
	session *session
	read    *bufio.Reader // of [session.store]; empty between calls
}

func newSession(addr string, timeout time.Duration) *session {
	s := &session{client: memcache.NewFromSelector(address(addr))}
	s.client.Timeout = timeout
	s.client.MaxIdleConns = 1
	s.client.DialContext = s.connect
	return s
}

// connect is how the client dials. The context it brings ends with its
// timeout; the call's ends with the call.
func (s *session) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if !s.dial {
		return nil, errLost
	}
	s.mu.Lock()
	call := s.call
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(call, cancel)()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, session: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
	return l, nil
}

// longAgo is the deadline of a call that has ended.
var longAgo = time.Unix(1, 0)

// bind has the session serve a call until release: once ctx has ended, nothing
// is waited for any more.
func (s *session) bind(ctx context.Context) (release func()) {
	s.mu.Lock()
	s.call, s.aborted = ctx, false
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.call != ctx {
			return // another call has the session by now
		}
		s.aborted = true
		if s.link != nil {
			_ = s.link.Conn.SetDeadline(longAgo)
		}
	})
	return func() {
		stop()
		s.mu.Lock()
		s.call = nil
		s.mu.Unlock()
	}
}

// connected reports whether the session has a connection that no error has
// ended.
func (s *session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link != nil
}

// get returns the item of that name, or nil where there is none.
func (s *session) get(name string) (*memcache.Item, error) {
	item, err := s.client.Get(name)
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil, nil
	}
	if err == nil && item.Key != name {
		s.close() // it answers something else
		return nil, errLost
	}
	return item, err
}

// close ends the connection, if there is one.
func (s *session) close() {
	s.client.Close()
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// SetDeadline is called by the client before each step, the first included.
func (l *link) SetDeadline(t time.Time) error {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if l.session.aborted {
		t = longAgo
	}
	return l.Conn.SetDeadline(t)
}

// Close ends the connection, and tells the session so.
func (l *link) Close() error {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if l.session.link == l {
		l.session.link = nil
	}
	return l.Conn.Close()
}
