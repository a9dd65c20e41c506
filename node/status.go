package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

const (
	// statsQuestion asks a node for its Stats; see peer.Client.Ask.
	statsQuestion = "stats"
	statsTimeout  = time.Second
	// statsAge is for how long the answers are good: status promises 2 s.
	statsAge = time.Second
)

// Stats is what a node holds, and how far it is with fetching what a change of the
// ring brings it.
type Stats struct {
	Keys   int64  `json:"keys"`             // alive
	Bytes  int64  `json:"bytes"`            // of their keys and values
	Hints  int64  `json:"hints,omitempty"`  // that it keeps for others
	To     uint64 `json:"to,omitempty"`     // the ring version that it has last fetched for
	Coming int64  `json:"coming,omitempty"` // partitions that it has yet to fetch for it
	Moved  int64  `json:"moved,omitempty"`  // bytes that it has fetched
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
	out := Stats{Keys: held.Keys, Bytes: held.Bytes, Hints: n.hints.Count()}
	out.To, out.Coming, out.Moved = n.mover.handover.progress()
	return out
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
	if n.mover.repairer != nil {
		out.LastRepair = n.mover.repairer.Last()
	}
	held := n.held(ctx, view)
	for _, st := range held {
		out.Hints += st.Hints
	}
	for at, m := range s.Ring.Members() {
		seen, known := view.Find(m.Name)
		if !known {
			seen = membership.Node{Name: m.Name, Status: membership.Down}
		}
		state := memberState(seen, held[m.Name])
		state.Weight, state.Zone, state.Partitions = m.Weight, m.Zone, s.Ring.Owned(at)
		out.Members = append(out.Members, state)
	}
	for _, seen := range view.Nodes() {
		if s.Ring.Index(seen.Name) < 0 && seen.Status != membership.Down {
			out.Members = append(out.Members, memberState(seen, held[seen.Name]))
		}
	}
	out.UnderReplicated = underReplicated(s.Ring, absent(s.Ring, view))
	out.Change = n.change(s, view, held)
	out.Settled = out.Change == nil && out.UnderReplicated == 0
	return out, nil
}

// underReplicated returns how many partitions have a replica on a member that
// is gone.
func underReplicated(r *ring.Ring, gone []bool) int {
	if !slices.Contains(gone, true) {
		return 0
	}
	count := 0
	for p := range r.Partitions() {
		if slices.ContainsFunc(r.Replicas(p), func(at int) bool { return gone[at] }) {
			count++
		}
	}
	return count
}

func memberState(seen membership.Node, held Stats) MemberState {
	return MemberState{
		Name: seen.Name, HTTP: seen.HTTP, Peer: seen.Peer, Gossip: seen.Gossip,
		Status: string(seen.Status), Weight: max(1, seen.Weight), Zone: seen.Zone,
		Keys: held.Keys, Bytes: held.Bytes, Software: seen.Software,
	}
}

// change says whom a change of the ring waits for, and how far the nodes that
// answer are with fetching what it brings them, nil where none is under way.
func (n *Node) change(s *topology.State, view *membership.View, held map[string]Stats) *Change {
	if s.Settled() {
		return nil
	}
	c := &Change{To: s.Version(), WaitingFor: n.keeper.Waiting(view)}
	var coming, bytes int64
	for _, m := range s.Read.Members() {
		bytes += held[m.Name].Bytes
	}
	for _, st := range held {
		if st.To == s.Version() {
			c.BytesMoved += st.Moved
			coming += st.Coming
		}
	}
	copies := int64(s.Read.Partitions() * len(s.Read.Replicas(0)))
	c.BytesToMove = c.BytesMoved + coming*bytes/copies
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
