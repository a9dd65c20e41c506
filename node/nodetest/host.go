package nodetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// port is what every host listens at: a host has one listener.
const port = "1"

// backlog is how many connections wait to be accepted.
const backlog = 128

// errCrashed is returned to what goes on of a host that is no more.
var errCrashed = errors.New("nodetest: this process was killed")

// Host is one process on the network, from its start to its end. A later
// process of the same name is another Host, under the same faults.
type Host struct {
	net       *Network
	name      string
	listening bool
	gone      bool
	queue     []*conn // not accepted yet
	wake      signal  // rung when queue, listening or gone changes
}

// Host returns a new host. The last one of its name must have crashed or
// closed its listener.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{net: n, name: name}
	n.hosts[name] = h
	return h
}

// Addr returns the host:port that others reach a host of that name at.
func Addr(name string) string { return net.JoinHostPort(name, port) }

// Crash ends a host: its connections are reset, which the others learn as far
// as they can be told, its listener is closed, and it dials no more.
func (h *Host) Crash() {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	h.gone, h.listening = true, false
	for p := range n.conns {
		if p.ends[0].host == h || p.ends[1].host == h {
			n.reset(p)
		}
	}
	h.queue = nil
	h.wake.ring()
	n.wake.ring()
}

// Listen opens the host's listener.
func (h *Host) Listen() net.Listener {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.listening = true
	return listener{h}
}

// Dial connects to an address that [Addr] returned. It waits as long as ctx
// allows for a host that does not answer, and fails at once where one refuses.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if err := h.handshake(ctx, name); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	to := n.hosts[name]
	switch {
	case h.gone:
		return nil, errCrashed
	case to == nil, !to.listening, len(to.queue) >= backlog:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	p := newPipe(n, h, to)
	n.conns[p] = struct{}{}
	to.queue = append(to.queue, &p.ends[1])
	to.wake.ring()
	return &p.ends[0], nil
}

// handshake waits for a packet to have gone to a host and back.
func (h *Host) handshake(ctx context.Context, to string) error {
	n := h.net
	var arrives time.Time // zero while the packet cannot leave
	for {
		n.mu.Lock()
		there, back := n.link(h.name, to), n.link(to, h.name)
		switch {
		case h.gone:
			n.mu.Unlock()
			return errCrashed
		case there.cut == Break, back.cut == Break:
			n.mu.Unlock()
			return syscall.EHOSTUNREACH
		case n.paused[h.name], there.cut == Stall, back.cut == Stall:
			arrives = time.Time{}
		case arrives.IsZero():
			d1, lost1 := n.underway(there)
			d2, lost2 := n.underway(back)
			if lost1 || lost2 {
				n.mu.Unlock()
				return syscall.ETIMEDOUT
			}
			arrives = time.Now().Add(d1 + d2)
		}
		wake := n.wake.wait()
		n.mu.Unlock()
		if !arrives.IsZero() && !time.Now().Before(arrives) {
			return nil
		}
		if err := sleepUntil(ctx, arrives, wake); err != nil {
			return err
		}
	}
}

// sleepUntil waits for a time, where it is one, or for wake. Its error is
// ctx's.
func sleepUntil(ctx context.Context, at time.Time, wake <-chan struct{}) error {
	var ring <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		ring = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ring:
	case <-wake:
	}
	return nil
}

// listener is the listener of a host.
type listener struct{ host *Host }

// Accept implements net.Listener. A host that is paused accepts nothing.
func (l listener) Accept() (net.Conn, error) {
	h, n := l.host, l.host.net
	for {
		n.mu.Lock()
		if !h.listening {
			n.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(h.queue) > 0 && !n.paused[h.name] {
			c := h.queue[0]
			h.queue = h.queue[1:]
			n.mu.Unlock()
			return c, nil
		}
		wake := h.wake.wait()
		n.mu.Unlock()
		<-wake
	}
}

// Close implements net.Listener. Connections that nobody has accepted are
// reset.
func (l listener) Close() error {
	h := l.host
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.listening = false
	for _, c := range h.queue {
		h.net.reset(c.pipe)
	}
	h.queue = nil
	h.wake.ring()
	return nil
}

// Addr implements net.Listener.
func (l listener) Addr() net.Addr { return address(Addr(l.host.name)) }

// address is a host:port.
type address string

// Network implements net.Addr.
func (address) Network() string { return "nodetest" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
