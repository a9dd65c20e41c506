package nodetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// How gossip goes.
const (
	gossipTick = 50 * time.Millisecond // how often nodes that reach each other talk
	gossipLuck = 0.5                   // how likely one hears news of another at a tick
	gossipKeep = 30 * time.Second      // how long a node that is down and no member is remembered
)

// gossip is the pools of all nodes. What reaches whom it takes from the
// network: as members of a real pool probe each other through third ones, two
// nodes see each other as long as any chain of live nodes joins them.
type gossip struct {
	net    *Network
	detect time.Duration // from unreachable to down

	mu    sync.Mutex // guards what follows, and all pools
	dice  *rand.Rand
	pools map[string]*pool // of the last process of each name
}

func newGossip(net *Network, detect time.Duration, seed uint64) *gossip {
	return &gossip{
		net: net, detect: detect,
		dice:  rand.New(rand.NewPCG(seed, 2)),
		pools: make(map[string]*pool),
	}
}

// run lets the nodes talk until ctx ends.
func (g *gossip) run(ctx context.Context) {
	tick := time.NewTicker(gossipTick)
	defer tick.Stop()
	for {
		g.talk(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// talk is one exchange among all who reach each other.
func (g *gossip) talk(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, group := range g.groups() {
		for _, name := range group {
			g.hear(g.pools[name], group, now)
		}
	}
}

// groups returns the names of the live nodes that are not paused, those
// together that can talk to each other. All of it is sorted, so that chance
// falls alike in every run.
func (g *gossip) groups() [][]string {
	var left []string
	for name, p := range g.pools {
		if !p.gone && !g.net.Paused(name) {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	var out [][]string
	for len(left) > 0 {
		group := left[:1:1]
		left = left[1:]
		for i := 0; i < len(group); i++ {
			left = slices.DeleteFunc(left, func(name string) bool {
				met := g.net.Reaches(group[i], name)
				if met {
					group = append(group, name)
				}
				return met
			})
		}
		slices.Sort(group)
		out = append(out, group)
	}
	return out
}

// hear is what a node makes of one exchange with its group.
func (g *gossip) hear(p *pool, group []string, now time.Time) {
	for _, name := range group {
		if name == p.name {
			continue
		}
		p.met = true
		other, seen := g.pools[name], p.known[name]
		if seen == nil || seen.down || seen.node.Facts != other.facts && g.dice.Float64() < gossipLuck {
			seen = &sighting{node: other.self()}
			p.known[name] = seen
		}
		seen.lost = time.Time{}
	}
	for name, seen := range p.known {
		if slices.Contains(group, name) {
			continue
		}
		if seen.lost.IsZero() {
			seen.lost = now
		}
		seen.down = seen.down || now.Sub(seen.lost) >= g.detect
		if seen.down && !seen.node.Member && now.Sub(seen.lost) > gossipKeep {
			delete(p.known, name)
		}
	}
	p.publish(now)
}

// crash ends a node's pool without a word.
func (g *gossip) crash(p *pool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.gone = true
}

// goodbye ends a node's pool, and those who hear of it know at once.
func (g *gossip) goodbye(p *pool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, group := range g.groups() {
		if !slices.Contains(group, p.name) {
			continue
		}
		for _, name := range group {
			if seen := g.pools[name].known[p.name]; seen != nil {
				seen.down, seen.lost = true, now
				g.pools[name].publish(now)
			}
		}
	}
	p.gone = true
}
