package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Pool is this node's place in the gossip pool, and its view of it. Its
// methods may be called at any time and from any goroutine, also in answer to
// a change of the view: none waits for memberlist.
type Pool struct {
	cfg    Config
	log    hclog.Logger
	net    *transport
	table  *table
	claims claims
	seldom seldom

	self     atomic.Pointer[words] // replaced whole, by Update alone
	view     atomic.Pointer[View]
	joined   atomic.Bool
	writing  sync.Mutex // serializes Update and publish
	watchers watchers

	changed   chan struct{} // the table changed
	announced chan struct{} // self changed
}

// words are what this node says of itself.
type words struct {
	facts   Facts
	encoded []byte
}

// New returns the pool of one node, with its listener open but nothing read
// from it before Run. Run releases it when it returns; where Run is never
// called, Close does.
func New(cfg Config) (*Pool, error) {
	cfg.Timing = cfg.Timing.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.lookup == nil {
		cfg.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	log := cfg.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.Facts.Boot == 0 {
		cfg.Facts.Boot = NewBoot()
	}
	encoded, err := cfg.Facts.encode()
	if err != nil {
		return nil, err
	}
	var loaded map[string]string
	if cfg.Known != nil {
		// Without it the seeds still do, so it is no reason not to start.
		if loaded, err = loadKnown(cfg.Known); err != nil {
			log.Warn("peers of an earlier life not known", "error", err)
		}
		delete(loaded, cfg.Name)
	}
	p := &Pool{
		cfg:       cfg,
		log:       log,
		table:     newTable(loaded),
		changed:   make(chan struct{}, 1),
		announced: make(chan struct{}, 1),
	}
	p.claims.changed = make(chan struct{}, 1)
	p.self.Store(&words{facts: cfg.Facts, encoded: encoded})
	p.net, err = listen(&cfg, log, gate{
		cluster: func() string { return p.self.Load().facts.Cluster },
		refused: p.refuse,
		heard:   p.table.hear,
	})
	if err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", cfg.Listen, err)
	}
	p.publish()
	return p, nil
}

// Close releases a pool that was not run, and is not to be. After Run has
// returned it does nothing; while Run runs it must not be called.
func (p *Pool) Close() { _ = p.net.Shutdown() } // nil always

// View returns the pool as it is known now; never nil. What Update changed is
// in it already.
func (p *Pool) View() *View { return p.view.Load() }

// Watch returns a channel that is signalled after each new view, and what ends
// that. Signals do not pile up: after one, look at the newest view.
func (p *Pool) Watch() (changed <-chan struct{}, stop func()) { return p.watchers.add() }

// Addr returns the gossip host:port that others are told: the advertised IP
// and the port that is bound.
func (p *Pool) Addr() string { return p.net.advertise.String() }

// Joined reports whether this node's name was found free, so that it may
// serve: another node has let it in; or it knows of none to ask; or it may
// found a cluster or is in the ring, and all that it knows of are silent.
func (p *Pool) Joined() bool { return p.joined.Load() }

// Update changes what this node says of itself, and has it gossiped. The error
// is ErrTooLong, and then nothing has changed. change must not call the pool.
func (p *Pool) Update(change func(*Facts)) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	facts := p.self.Load().facts
	change(&facts)
	if facts == p.self.Load().facts {
		return nil
	}
	encoded, err := facts.encode()
	if err != nil {
		return fmt.Errorf("update facts: %w", err)
	}
	p.self.Store(&words{facts: facts, encoded: encoded})
	p.publishLocked()
	signal(p.announced)
	return nil
}

// publish makes a view of what is known, and tells the watchers if it differs
// from the last.
func (p *Pool) publish() {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.publishLocked()
}

func (p *Pool) publishLocked() {
	facts := p.self.Load().facts
	nodes := p.table.snapshot(time.Now(), rules{
		cluster: facts.Cluster,
		grace:   p.cfg.Timing.Probe - p.cfg.Timing.ProbeTimeout,
		keep:    p.cfg.Timing.Dead,
	})
	self := Node{Name: p.cfg.Name, Gossip: p.Addr(), Facts: facts, Status: Joining}
	if p.joined.Load() {
		self.Status = facts.status()
	}
	nodes = append(nodes, self)
	next := NewView(nodes)
	old := p.view.Load()
	if old != nil && slices.Equal(old.nodes, next.nodes) {
		return
	}
	p.view.Store(next)
	p.watchers.signal()
	if old != nil {
		p.logChanges(old, next)
	}
}

// logChanges says who came and went.
func (p *Pool) logChanges(old, next *View) {
	for _, n := range next.nodes {
		switch was, known := old.Find(n.Name); {
		case n.Name == p.cfg.Name:
		case !known || was.Status == Down && n.Status != Down:
			p.log.Info("node up", "node", n.Name, "addr", n.Gossip, "status", n.Status)
		case was.Status != Down && n.Status == Down:
			p.log.Info("node down", "node", n.Name, "addr", n.Gossip)
		case was.Boot != n.Boot:
			p.log.Info("node restarted", "node", n.Name, "addr", n.Gossip)
		}
	}
	for _, n := range old.nodes {
		if _, known := next.Find(n.Name); !known {
			p.log.Info("node gone", "node", n.Name, "addr", n.Gossip)
		}
	}
}

// refuse says, now and then, that a node of another cluster was met.
func (p *Pool) refuse(cluster, addr string) {
	if p.seldom.allows("foreign "+addr, time.Now()) {
		p.log.Warn("refused a node of another cluster: check the seeds of both",
			"cluster", p.self.Load().facts.Cluster, "addr", p.Addr(),
			"other_cluster", cluster, "other_addr", addr)
	}
}

// Run takes part in the pool until ctx ends, and then says goodbye, so that
// others need not find out: this node is down in their views, and keeps
// whatever place it has in the ring. The error is nil then, ErrDuplicateName
// where another node has this one's name, or that of memberlist's start.
func (p *Pool) Run(ctx context.Context) error {
	defer func() { _ = p.net.Shutdown() }() // nil always
	if ctx.Err() != nil {
		return nil
	}
	p.net.start()
	ml, err := memberlist.Create(p.memberlistConfig())
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var working sync.WaitGroup
	working.Go(func() { p.follow(ctx, ml) })
	working.Go(func() { p.remember(ctx) })
	working.Go(func() {
		<-ctx.Done()
		p.net.hangUp() // so that nobody need wait for a dial
	})
	err = p.keepJoining(ctx, newDialer(ml, &working))
	cancel()
	working.Wait()
	if err == nil && p.joined.Load() {
		// A node whose name is another's must not: its goodbye would be taken
		// for that one's.
		if lerr := ml.Leave(10 * p.cfg.Timing.Gossip); lerr != nil {
			p.log.Debug("goodbye", "error", lerr)
		}
	}
	return errors.Join(err, ml.Shutdown())
}

// follow publishes views and announces this node's words, until ctx ends.
func (p *Pool) follow(ctx context.Context, ml *memberlist.Memberlist) {
	// Suspicion and forgetting come with time alone.
	tick := time.NewTicker(p.cfg.Timing.Probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.announced:
			// It waits until the news were sent on, which others need not. They
			// are queued all the same when it gives up.
			_ = ml.UpdateNode(time.Millisecond)
		case <-p.changed:
		case <-tick.C:
		}
		p.publish()
	}
}
