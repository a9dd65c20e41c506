package nodetest

import (
	"slices"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
)

var _ topology.Pool = (*pool)(nil)

// pool is a process's place in the gossip pool: what a membership.Pool is in
// production. Gossip's mu guards all of it.
type pool struct {
	g       *gossip
	name    string
	facts   membership.Facts
	started time.Time
	known   map[string]*sighting // of the others
	met     bool                 // somebody has let it in
	alone   bool                 // there was nobody to ask when it started
	gone    bool                 // its process has ended
	view    *membership.View
	watches map[chan struct{}]struct{}
}

// sighting is what a node knows of another.
type sighting struct {
	node membership.Node // Status is what it says of itself
	lost time.Time       // since when it is out of reach; zero: it is not
	down bool
}

// join takes a new process into gossip.
func (g *gossip) join(name string, facts membership.Facts, now time.Time) *pool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, again := g.pools[name]
	p := &pool{
		g: g, name: name, facts: facts, started: now,
		known:   make(map[string]*sighting),
		alone:   len(g.pools) == 0 || again && len(g.pools) == 1,
		watches: make(map[chan struct{}]struct{}),
	}
	g.pools[name] = p
	p.publish(now)
	return p
}

// self is what the node says of itself.
func (p *pool) self() membership.Node {
	n := membership.Node{Name: p.name, Gossip: p.name + ":2", Facts: p.facts, Status: membership.Joining}
	switch {
	case !p.joined(time.Now()):
	case p.facts.Leaving:
		n.Status = membership.Leaving
	case p.facts.Member:
		n.Status = membership.Alive
	}
	return n
}

// joined is Joined for who has the lock.
func (p *pool) joined(now time.Time) bool {
	may := p.facts.Founding || p.facts.Member || p.facts.Ring > 0
	return p.met || p.alone || may && now.Sub(p.started) >= p.g.detect
}

// publish makes a view of what is known, and tells the watchers if it is new.
func (p *pool) publish(now time.Time) {
	nodes := []membership.Node{p.self()}
	for name, seen := range p.known {
		n := seen.node
		if p.facts.Cluster != "" && n.Cluster != "" && n.Cluster != p.facts.Cluster {
			delete(p.known, name) // a foreign one
			continue
		}
		switch {
		case seen.down:
			n.Status = membership.Down
		case !seen.lost.IsZero() && now.Sub(seen.lost) >= p.g.detect/2:
			n.Status = membership.Suspect
		}
		nodes = append(nodes, n)
	}
	next := membership.NewView(nodes)
	if p.view != nil && slices.Equal(p.view.Nodes(), next.Nodes()) {
		return
	}
	p.view = next
	for ch := range p.watches {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// View implements topology.Pool.
func (p *pool) View() *membership.View {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.view
}

// Watch implements topology.Pool.
func (p *pool) Watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.watches[ch] = struct{}{}
	return ch, func() {
		p.g.mu.Lock()
		defer p.g.mu.Unlock()
		delete(p.watches, ch)
	}
}

// Update implements topology.Pool.
func (p *pool) Update(change func(*membership.Facts)) error {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	change(&p.facts)
	p.publish(time.Now())
	return nil
}

// Joined implements topology.Pool.
func (p *pool) Joined() bool {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	return p.joined(time.Now())
}
