package membership

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// table is what is known of the other nodes, from memberlist's events.
//
// memberlist hands out pointers to nodes that it goes on changing under a lock
// of its own, so each event's node is copied here while that lock is held, and
// memberlist is never asked for its members. No method of the table calls
// anything that could wait, so it may be used inside memberlist's callbacks.
type table struct {
	mu     sync.Mutex // guards all below
	nodes  map[string]*record
	loaded map[string]string // gossip addresses by name, of nodes of the last run not met yet
}

// record is one node of a table.
type record struct {
	node  Node // without Status
	up    bool
	since time.Time // when up last changed
	// doubt is when a probe of the node's went unanswered; zero since it was
	// last heard of.
	doubt time.Time
}

func newTable(loaded map[string]string) *table {
	return &table{nodes: make(map[string]*record), loaded: loaded}
}

// see takes in a node that is up.
func (t *table) see(n Node, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.loaded, n.Name)
	r := t.nodes[n.Name]
	if r == nil || !r.up {
		r = &record{up: true, since: now}
		t.nodes[n.Name] = r
	}
	r.node = n
}

// lose takes in that a node is down.
func (t *table) lose(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.nodes[name]; r != nil && r.up {
		r.up, r.since = false, now
	}
}

// doubt takes in that a node did not answer a probe's packet.
func (t *table) doubt(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.nodes[name]; r != nil && r.doubt.IsZero() {
		r.doubt = now
	}
}

// hear takes in a sign of life.
func (t *table) hear(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.nodes[name]; r != nil {
		r.doubt = time.Time{}
	}
}

// rules is what a snapshot of a table depends on.
type rules struct {
	cluster string        // nodes of others are left out
	grace   time.Duration // how old a doubt must be to make a suspect
	keep    time.Duration // how long a node stays that is down and was not in the ring
}

// snapshot returns the nodes with their status, in no order, and drops those
// for good that are gone or foreign.
func (t *table) snapshot(now time.Time, by rules) []Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.nodes, func(_ string, r *record) bool {
		gone := !r.up && !r.node.Member && now.Sub(r.since) > by.keep
		return gone || foreign(by.cluster, r.node.Cluster)
	})
	out := make([]Node, 0, len(t.nodes)+1)
	for _, r := range t.nodes {
		n := r.node
		switch {
		case !r.up:
			n.Status = Down
		case !r.doubt.IsZero() && now.Sub(r.doubt) > by.grace:
			n.Status = Suspect
		default:
			n.Status = n.status()
		}
		out = append(out, n)
	}
	return out
}

// addresses returns the last gossip addresses of all nodes that are known and not
// up, and present those of the others.
func (t *table) addresses() (absent []string, present map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	present = make(map[string]bool)
	for _, r := range t.nodes {
		if r.up {
			present[r.node.Gossip] = true
		} else {
			absent = append(absent, r.node.Gossip)
		}
	}
	for _, addr := range t.loaded {
		absent = append(absent, addr)
	}
	return absent, present
}

// known returns all nodes with an address, sorted by name: what a peers file
// holds.
func (t *table) known() []knownPeer {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]knownPeer, 0, len(t.nodes)+len(t.loaded))
	for name, r := range t.nodes {
		out = append(out, knownPeer{Name: name, Gossip: r.node.Gossip})
	}
	for name, addr := range t.loaded {
		out = append(out, knownPeer{Name: name, Gossip: addr})
	}
	slices.SortFunc(out, func(a, b knownPeer) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// foreign reports whether nodes of the two clusters must not meet. A node
// without a cluster may meet anyone.
func foreign(a, b string) bool { return a != "" && b != "" && a != b }
