package membership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// How a node joins, and stays joined:
//
//  1. It dials every seed, and every node it knows that is not up, again and
//     again for as long as it runs. Names are resolved anew each time. It gives
//     all of them Timing.Join to answer, and then goes by those that did: whoever
//     comes later to say that the name is taken is heard all the same, by rule 4.
//  2. Whoever answers says which nodes it knows. While one of them has this
//     node's name, another boot and another address, and is not down, the
//     newcomer stays out: nobody but the one dialed has heard of it, and that
//     one keeps what it knew.
//  3. Meanwhile the newcomer asks the node behind the holder's peer address who
//     it is. If that is a living node of the name, the newcomer gives up. If
//     not, the holder is a trace of one that is gone, most likely of an earlier
//     run of this node at another address. It is down before long, and then
//     the name is free.
//  4. Of two living nodes of the name that have both joined, one ends: the one
//     in no ring where the other is in one; where both are, the one that
//     started earlier. It was most likely held up for so long that it was
//     declared down and replaced, and the others know its replacement. Each of
//     the two decides for itself, by facts that only one can lose by.

// ErrDuplicateName is returned by Run when another node of this one's name is
// in the pool.
var ErrDuplicateName = errors.New("another node has this name")

// errNameTaken keeps a newcomer out of a pool for now.
var errNameTaken = errors.New("name taken by another node")

// claims is what was heard of late about who has this node's name.
type claims struct {
	mu      sync.Mutex // guards met and rival
	met     bool       // some other node let us see what it knows
	rival   *Node      // who has the name
	changed chan struct{}
}

func (c *claims) meet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met = true
}

func (c *claims) contest(rival Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rival = &rival
	signal(c.changed)
}

// take returns what was heard since it was called last.
func (c *claims) take() (met bool, rival *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	met, rival = c.met, c.rival
	c.met, c.rival = false, nil
	return met, rival
}

// keepJoining does what this file says until ctx ends. Its error is nil or
// ErrDuplicateName. Dials may still run when it returns.
func (p *Pool) keepJoining(ctx context.Context, dialer *dialer) error {
	quiet := time.Now() // since when nobody has spoken of the name
	for {
		targets := p.targets(ctx)
		dialer.dial(targets)
		dialer.wait(ctx, p.cfg.Timing.Join)
		met, rival := p.claims.take()
		switch {
		case ctx.Err() != nil:
			return nil
		case rival != nil:
			quiet = time.Now()
			if err := p.settle(ctx, rival); err != nil {
				return err
			}
		case !p.joined.Load() && (met || p.alone(time.Since(quiet))):
			p.joined.Store(true)
			p.publish()
			p.log.Info("joined", "name", p.cfg.Name, "addr", p.Addr(), "alone", !met)
		case !p.joined.Load() && p.seldom.allows("no seed", time.Now()):
			p.log.Info("no seed answers yet", "seeds", p.cfg.Seeds, "found", targets)
		}
		pause := p.cfg.Timing.Rejoin
		if !p.joined.Load() {
			pause = p.cfg.Timing.Join
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.claims.changed:
			// A rival that does not go away must not keep us busy.
			sleep(ctx, p.cfg.Timing.Join-time.Since(quiet))
		case <-time.After(pause):
		}
	}
}

// alone reports whether the node may take its name for free although nobody
// has told it so, having waited for so long.
func (p *Pool) alone(waited time.Duration) bool {
	absent, _ := p.table.addresses()
	if len(p.cfg.Seeds) == 0 && len(absent) == 0 {
		return true
	}
	facts := &p.self.Load().facts
	return (facts.Founding || facts.Member || facts.Ring > 0) && waited >= p.cfg.Timing.Silence
}

// settle deals with a rival for this node's name. Its error is
// ErrDuplicateName.
func (p *Pool) settle(ctx context.Context, rival *Node) error {
	lives := p.lives(ctx, rival)
	yields := !p.joined.Load() || outranks(&rival.Facts, &p.self.Load().facts)
	switch {
	case lives && yields:
		return fmt.Errorf("%w: %q is this node at %s and another at %s (peer address %s)",
			ErrDuplicateName, p.cfg.Name, p.Addr(), rival.Gossip, rival.Peer)
	case lives && p.seldom.allows("duplicate", time.Now()):
		p.log.Error("another node has this node's name: stop one of them if neither ends by itself",
			"name", p.cfg.Name, "addr", p.Addr(), "other_addr", rival.Gossip, "other_peer", rival.Peer)
	case !lives && yields && p.seldom.allows("ghost", time.Now()):
		p.log.Info("the pool holds this node's name for one that does not answer; waiting until it is declared down",
			"name", p.cfg.Name, "other_addr", rival.Gossip)
	}
	return nil
}

// outranks reports whether a joined node yields its name to a rival: see rule
// 4. It never holds both ways round.
func outranks(rival, self *Facts) bool {
	return rival.Member && (!self.Member || rival.Boot > self.Boot)
}

// lives reports whether the node that a claim speaks of is there, in the same
// life. Of a later one there will be claims of its own.
func (p *Pool) lives(ctx context.Context, rival *Node) bool {
	if p.cfg.Identify == nil || rival.Peer == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timing.Identify)
	defer cancel()
	name, boot, err := p.cfg.Identify(ctx, rival.Peer)
	if err != nil {
		p.log.Debug("identify", "peer", rival.Peer, "error", err)
		return false
	}
	return name == p.cfg.Name && boot == rival.Boot
}

// targets returns the addresses to dial now, in random order: of seeds and
// absent nodes and, once this node has joined, none that is known to be up.
func (p *Pool) targets(ctx context.Context) []string {
	addrs, present := p.table.addresses()
	if !p.joined.Load() {
		// One that is up may have been met by gossip, after a dial that broke
		// before it said what it knows.
		addrs = slices.AppendSeq(addrs, maps.Keys(present))
		clear(present)
	}
	present[p.Addr()] = true
	for _, seed := range p.cfg.Seeds {
		found, err := p.resolve(ctx, seed)
		if err != nil {
			p.log.Debug("resolve seed", "seed", seed, "error", err)
		}
		addrs = append(addrs, found...)
	}
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	addrs = slices.DeleteFunc(addrs, func(addr string) bool { return present[addr] })
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addrs
}

// resolve returns every ip:port that a seed stands for now.
func (p *Pool) resolve(ctx context.Context, seed string) ([]string, error) {
	host, port, err := splitSeed(seed)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := p.cfg.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(ips))
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)).String())
	}
	return out, nil
}

// sleep waits, or for ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
