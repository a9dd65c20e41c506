package nodetest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Cut is how a direction of the network fails.
type Cut int

// The kinds of cut.
const (
	// Open is no cut.
	Open Cut = iota
	// Stall loses every packet: nobody is told, bytes wait to be sent again, and
	// arrive when the cut heals, where the connection is still there by then.
	Stall
	// Break resets connections, and refuses new ones.
	Break
)

// Transit is what a direction does to what it delivers.
type Transit struct {
	// Delay is how long bytes are under way, and up to Jitter longer. Bytes of
	// one connection never overtake one another.
	Delay, Jitter time.Duration
	// Loss is the share of packets that are lost, 0 to 1. A connection sends
	// again: each loss makes its bytes late, at first by resend, then by twice as
	// much each time, and after resends losses in a row the connection breaks.
	Loss float64
}

// How a connection sends again what was lost.
const (
	resend  = 200 * time.Millisecond
	resends = 6
)

// Network is a network in memory between hosts that have names. All faults
// are of a direction, from one host to another, or of a host; they hold for
// connections that are open and for those to come, until they are taken back.
// Its methods are safe for concurrent use.
type Network struct {
	mu     sync.Mutex // guards what follows, and all hosts, connections and links
	dice   *rand.Rand
	base   Transit // of links that have none of their own
	hosts  map[string]*Host
	links  map[direction]*link
	paused map[string]bool
	conns  map[*pipe]struct{} // until both ends are closed
	wake   signal             // rung when faults change
}

// direction is the way from one host to another.
type direction struct{ from, to string }

// link is the faults of a direction.
type link struct {
	cut     Cut
	own     bool // transit is this link's own
	transit Transit
}

// NewNetwork returns a network without faults.
func NewNetwork(seed uint64) *Network {
	return &Network{
		dice:   rand.New(rand.NewPCG(seed, 1)),
		hosts:  make(map[string]*Host),
		links:  make(map[direction]*link),
		paused: make(map[string]bool),
		conns:  make(map[*pipe]struct{}),
	}
}

// Cut makes a direction fail.
func (n *Network) Cut(from, to string, kind Cut) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut(from, to, kind)
	n.ring()
}

func (n *Network) cut(from, to string, kind Cut) {
	n.link(from, to).cut = kind
	if kind != Break {
		return
	}
	for p := range n.conns {
		if p.joins(from, to) {
			n.reset(p)
		}
	}
}

// Partition cuts both directions between hosts of different groups. What is
// cut already stays so.
func (n *Network) Partition(kind Cut, groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, group := range groups {
		for _, from := range group {
			for _, to := range slices.Concat(groups[i+1:]...) {
				n.cut(from, to, kind)
				n.cut(to, from, kind)
			}
		}
	}
	n.ring()
}

// Heal takes back all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.cut = Open
	}
	n.ring()
}

// Transit sets what a direction does to what it delivers from now on.
func (n *Network) Transit(from, to string, t Transit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	l.own, l.transit = true, t
}

// TransitAll does so for all directions, also between hosts to come.
func (n *Network) TransitAll(t Transit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base = t
	for _, l := range n.links {
		l.own = false
	}
}

// Pause stops a host as SIGSTOP stops a process: it reads and writes nothing.
// Its connections stay open, and whoever dials it is connected.
func (n *Network) Pause(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[name] = true
	n.ring()
}

// Resume lets a host that was paused go on.
func (n *Network) Resume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, name)
	n.ring()
}

// Paused reports whether a host is paused.
func (n *Network) Paused(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paused[name]
}

// Reaches reports whether packets go both ways between two hosts, neither of
// which is paused.
func (n *Network) Reaches(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.paused[a] && !n.paused[b] && n.link(a, b).cut == Open && n.link(b, a).cut == Open
}

// link returns the faults of a direction. The caller holds mu, as for all that
// follow.
func (n *Network) link(from, to string) *link {
	at := direction{from, to}
	l := n.links[at]
	if l == nil {
		l = &link{}
		n.links[at] = l
	}
	return l
}

// underway decides how long the next packet of a direction takes, and whether
// it never arrives.
func (n *Network) underway(l *link) (time.Duration, bool) {
	t := n.base
	if l.own {
		t = l.transit
	}
	d := t.Delay
	if t.Jitter > 0 {
		d += time.Duration(n.dice.Int64N(int64(t.Jitter)))
	}
	late := resend
	for range resends {
		if t.Loss == 0 || n.dice.Float64() >= t.Loss {
			return d, false
		}
		d += late
		late *= 2
	}
	return d, true
}

// ring makes everybody who waits look at the faults again.
func (n *Network) ring() {
	n.wake.ring()
	for _, h := range n.hosts {
		h.wake.ring()
	}
	for p := range n.conns {
		p.ring()
	}
}

// reset breaks a connection. An end that a cut keeps from hearing of it does
// when that is healed.
func (n *Network) reset(p *pipe) {
	for i := range p.halves {
		h := &p.halves[i]
		h.broken = true
		h.queue, h.size = nil, 0
		h.wake.ring()
	}
}

// signal wakes whoever waits for something to change. The network's mu guards
// it.
type signal struct {
	ch chan struct{} // nil while nobody waits
}

// wait returns a channel that is closed by the next ring.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) ring() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
