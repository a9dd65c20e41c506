package node

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// peers holds a connection to each node of the pool, and follows them to new
// addresses.
type peers struct {
	cfg  peer.ClientConfig
	pool topology.Pool
	// changed is called when a node has come up or gone.
	changed func()
	// links is replaced whole whenever the pool changes: nobody locks to route.
	links atomic.Pointer[map[string]*link]
}

// link is the way to one node.
type link struct {
	*peer.Client
	addr    string
	boot    uint64 // of the node's process
	storage uint64 // of the node's store
	down    bool   // the pool says that nobody is there
}

func newPeers(cfg peer.ClientConfig, pool topology.Pool, changed func()) *peers {
	p := &peers{cfg: cfg, pool: pool, changed: changed}
	p.links.Store(&map[string]*link{})
	return p
}

// run follows the pool until ctx ends, then closes all connections.
func (p *peers) run(ctx context.Context) error {
	changed, stop := p.pool.Watch()
	defer stop()
	defer p.follow(nil)
	for {
		p.follow(p.pool.View().Nodes())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// follow makes links to exactly the given nodes, keeping those that still
// lead to the right place.
func (p *peers) follow(nodes []membership.Node) {
	old := *p.links.Load()
	next := make(map[string]*link, len(nodes))
	news := false
	for _, n := range nodes {
		if n.Name == p.cfg.Self.Name || n.Peer == "" {
			continue
		}
		l := &link{addr: n.Peer, boot: n.Boot, storage: n.Storage, down: n.Status == membership.Down}
		was := old[n.Name]
		if was != nil && was.addr == l.addr && was.boot == l.boot && was.storage == l.storage {
			l.Client = was.Client
		} else { // a new process is tried at once, whatever became of the last
			l.Client = peer.NewClient(p.cfg, n.Name, n.Peer, n.Storage)
		}
		news = news || was == nil || was.Client != l.Client || was.down != l.down
		next[n.Name] = l
	}
	p.links.Store(&next)
	for name, was := range old {
		if now := next[name]; now == nil || now.Client != was.Client {
			_ = was.Close() // only joins; what waited has been failed
		}
	}
	if news {
		p.changed()
	}
}

// client returns the way to a node that is believed to be up. Its error is
// peer.ErrUnavailable, and peer.ErrNotSent.
func (p *peers) client(name string) (*peer.Client, error) {
	l, err := p.link(name)
	if err != nil {
		return nil, err
	}
	return l.Client, nil
}

func (p *peers) link(name string) (*link, error) {
	l := (*p.links.Load())[name]
	switch {
	case l == nil:
		return nil, fmt.Errorf("%s is not in the pool: %w: %w", name, peer.ErrUnavailable, peer.ErrNotSent)
	case l.down:
		return nil, fmt.Errorf("%s is down: %w: %w", name, peer.ErrUnavailable, peer.ErrNotSent)
	}
	return l, nil
}

// to is client for a member of a ring: the node of its name is not the member
// where it has come back with another store.
func (p *peers) to(m *ring.Member) (*peer.Client, error) {
	l, err := p.link(m.Name)
	switch {
	case err != nil:
		return nil, err
	case l.storage != m.Storage:
		return nil, fmt.Errorf("%s has another store than the ring knows: %w: %w", m.Name, peer.ErrUnavailable, peer.ErrNotSent)
	}
	return l.Client, nil
}

// Ask implements topology.Asker.
func (p *peers) Ask(ctx context.Context, node, question string, in, out any) error {
	c, err := p.client(node)
	if err != nil {
		return err
	}
	return c.Ask(ctx, question, in, out)
}
