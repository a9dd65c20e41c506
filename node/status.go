package node

import (
	"context"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
)

const (
	// statsQuestion asks a node for its Stats; see peer.Client.Ask.
	statsQuestion = "stats"
	statsTimeout  = time.Second
	// statsAge is for how long the answers are good: status promises 2 s.
	statsAge = time.Second
)

// Stats is what a node holds alive.
type Stats struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"` // of keys and values
}

// Stats returns what this node's store holds alive.
func (n *Node) Stats() kv.Stats {
	if c, ok := n.store.(kv.Counter); ok {
		return c.Stats(n.clock.Now())
	}
	return kv.Stats{}
}

func (n *Node) ownStats() Stats {
	held := n.Stats()
	return Stats{Keys: held.Keys, Bytes: held.Bytes}
}

// statsCache keeps what the other nodes last said that they hold.
type statsCache struct {
	mu     sync.Mutex // guards what follows; held while nodes are asked, so that they are asked once
	asked  time.Time
	byNode map[string]Stats
}

// Status returns the state of the cluster as this node sees it. A node that
// does not answer in time counts as holding nothing. Its error is ErrNotReady
// where no ring is known.
func (n *Node) Status(ctx context.Context) (Status, error) {
	s := n.keeper.State()
	if s == nil {
		return Status{}, n.Ready()
	}
	view := n.pool.View()
	out := Status{Cluster: s.Cluster(), Ring: s.Version()}
	held := n.held(ctx, view)
	for _, m := range s.Ring.Members() {
		seen, known := view.Find(m.Name)
		if !known {
			seen = membership.Node{Name: m.Name, Status: membership.Down}
		}
		at := s.Ring.Index(m.Name)
		state := memberState(seen, held[m.Name])
		state.Weight, state.Zone, state.Partitions = m.Weight, m.Zone, s.Ring.Owned(at)
		out.Members = append(out.Members, state)
		if seen.Status == membership.Down {
			out.UnderReplicated += state.Partitions
		}
	}
	for _, seen := range view.Nodes() {
		if s.Ring.Index(seen.Name) < 0 && seen.Status != membership.Down {
			out.Members = append(out.Members, memberState(seen, held[seen.Name]))
		}
	}
	out.Change = change(s, view)
	return out, nil
}

func memberState(seen membership.Node, held Stats) MemberState {
	return MemberState{
		Name: seen.Name, HTTP: seen.HTTP, Peer: seen.Peer, Gossip: seen.Gossip,
		Status: string(seen.Status), Weight: max(1, seen.Weight), Zone: seen.Zone,
		Keys: held.Keys, Bytes: held.Bytes, Software: seen.Software,
	}
}

// change says whom a change of the ring waits for, nil where none is under
// way.
func change(s *topology.State, view *membership.View) *Change {
	if s.Settled {
		return nil
	}
	c := &Change{To: s.Version()}
	for _, m := range s.Ring.Members() {
		if seen, ok := view.Find(m.Name); !ok || seen.Status == membership.Down || seen.Ring < s.Version() {
			c.WaitingFor = append(c.WaitingFor, m.Name)
		}
	}
	return c
}

// held returns what each node that is up holds alive, at most statsAge old.
func (n *Node) held(ctx context.Context, view *membership.View) map[string]Stats {
	n.stats.mu.Lock()
	defer n.stats.mu.Unlock()
	if n.stats.byNode != nil && time.Since(n.stats.asked) < statsAge {
		return n.stats.byNode
	}
	// What is learned is for others too, also when who asked has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer cancel()
	var mu sync.Mutex // guards held
	held := map[string]Stats{}
	own := make(chan Stats, 1) // the store may be a server that does not answer
	go func() { own <- n.ownStats() }()
	var wg sync.WaitGroup
	for _, node := range view.Nodes() {
		if node.Name == n.cfg.Name || node.Status == membership.Down {
			continue
		}
		wg.Go(func() {
			var theirs Stats
			if n.peers.Ask(ctx, node.Name, statsQuestion, struct{}{}, &theirs) != nil {
				return // shown as holding nothing
			}
			mu.Lock()
			defer mu.Unlock()
			held[node.Name] = theirs
		})
	}
	wg.Wait()
	select {
	case held[n.cfg.Name] = <-own:
	case <-ctx.Done(): // shown as holding nothing
	}
	n.stats.asked, n.stats.byNode = time.Now(), held
	return held
}
