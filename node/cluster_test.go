package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPartitions is few, so that clusters are quick to make.
const testPartitions = 64

// cluster is nodes in one process, over real connections on loopback and a
// gossip pool that the test controls.
type cluster struct {
	t        testing.TB
	replicas int
	mu       sync.Mutex // guards what follows
	spots    map[string]*spot
	boots    uint64
	skew     time.Duration // how far the wall clock of all nodes is ahead
	wake     map[chan struct{}]bool
}

// spot is one node and its place in the pool.
type spot struct {
	*Node
	c     *cluster
	facts membership.Facts
	up    bool
	stop  func()
}

// newCluster starts nodes n1 to n<count>, with one replica of each key, and waits
// until all are in the ring.
func newCluster(t testing.TB, count int) *cluster {
	t.Helper()
	return newReplicated(t, count, 1)
}

// newReplicated is newCluster with several replicas of each key.
func newReplicated(t testing.TB, count, replicas int) *cluster {
	t.Helper()
	c := &cluster{t: t, replicas: replicas, spots: map[string]*spot{}, wake: map[chan struct{}]bool{}}
	t.Cleanup(c.stopAll)
	for i := range count {
		c.start(fmt.Sprintf("n%d", i+1))
	}
	c.awaitRing(count)
	return c
}

// start starts a node with an empty store, without waiting for anything.
func (c *cluster) start(name string) *Node {
	c.t.Helper()
	store, err := kv.NewMemory(kv.MemoryOptions{Partitions: testPartitions})
	if err != nil {
		c.t.Error(err)
		return nil
	}
	return c.startOver(name, store)
}

// startOver starts a node over a store, which is not closed when it ends.
func (c *cluster) startOver(name string, store kv.Store) *Node {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Error(err)
		return nil
	}
	c.mu.Lock()
	c.boots++
	boot := c.boots
	s := &spot{c: c, up: true, facts: membership.Facts{
		Boot: boot, Peer: l.Addr().String(), HTTP: "http." + name, Founding: name == "n1", Software: "test",
	}}
	c.mu.Unlock()
	s.Node, err = New(c.t.Context(), Config{
		Name: name, Boot: boot, Founder: name == "n1", Replicas: c.replicas, Partitions: testPartitions,
		Timeout: 5 * time.Second, Wall: c.now,
	}, store, s, hclog.NewNullLogger())
	if err != nil {
		c.t.Error(err)
		return nil
	}
	c.mu.Lock()
	c.spots[name] = s
	c.mu.Unlock()
	c.changed()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.mu.Lock()
	s.stop = func() {
		cancel()
		<-done
	}
	c.mu.Unlock()
	go func() {
		defer close(done)
		if err := s.Run(ctx, l); err != nil {
			c.t.Errorf("%s: %v", name, err)
		}
	}()
	return s.Node
}

// kill ends a node; the pool says that it is down.
func (c *cluster) kill(name string) { c.killHolding(name, func() {}) }

// killHolding is kill for a node with a request under way, which release ends.
func (c *cluster) killHolding(name string, release func()) {
	c.mu.Lock()
	s := c.spots[name]
	s.up = false
	c.mu.Unlock()
	c.changed()
	s.stop()
	release()
}

func (c *cluster) mustDo(n *Node, op *kv.Op) Reply {
	c.t.Helper()
	r := n.Do(c.t.Context(), op, nil)
	if r.Err != nil {
		c.t.Fatalf("%s of %q through %s: %v", op.Verb, op.Key, n.Name(), r.Err)
	}
	return r
}

func (c *cluster) stopAll() {
	for _, n := range c.nodes() {
		c.kill(n.Name())
	}
}

func (c *cluster) node(name string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spots[name].Node
}

// nodes returns the nodes that are up, by name.
func (c *cluster) nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Node
	for _, s := range c.spots {
		if s.up {
			out = append(out, s.Node)
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}

// awaitRing waits until all nodes that are up are settled members of a ring of
// so many.
func (c *cluster) awaitRing(members int) {
	c.t.Helper()
	c.await(func() bool {
		for _, n := range c.nodes() {
			s := n.keeper.State()
			if s == nil || !s.Settled() || !s.Confirmed || s.Self < 0 || len(s.Ring.Members()) != members {
				return false
			}
		}
		return true
	})
}

// await waits for a condition.
func (c *cluster) await(holds func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			c.t.Fatal("it did not come about in 30 s")
		}
	}
}

// now is the wall clock of all nodes.
func (c *cluster) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

// advance moves the wall clock of all nodes.
func (c *cluster) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += d
}

func (c *cluster) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.wake {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// View implements topology.Pool: everybody sees the same.
func (s *spot) View() *membership.View {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	var nodes []membership.Node
	for name, at := range s.c.spots {
		status := membership.Joining
		switch {
		case !at.up:
			status = membership.Down
		case at.facts.Member:
			status = membership.Alive
		}
		nodes = append(nodes, membership.Node{Name: name, Facts: at.facts, Status: status})
	}
	return membership.NewView(nodes)
}

// Watch implements topology.Pool.
func (s *spot) Watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.wake[ch] = true
	return ch, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		delete(s.c.wake, ch)
	}
}

// Update implements topology.Pool.
func (s *spot) Update(change func(*membership.Facts)) error {
	s.c.mu.Lock()
	before := s.facts
	change(&s.facts)
	same := s.facts == before
	s.c.mu.Unlock()
	if !same {
		s.c.changed()
	}
	return nil
}

// Joined implements topology.Pool.
func (s *spot) Joined() bool { return true }

func (c *cluster) put(n *Node, key, value string) Reply {
	c.t.Helper()
	r := n.Do(c.t.Context(), &kv.Op{Verb: kv.Put, Key: []byte(key), Value: []byte(value)}, nil)
	if r.Err != nil {
		c.t.Fatalf("put %q through %s: %v", key, n.Name(), r.Err)
	}
	return r
}

func (c *cluster) get(n *Node, key string) (string, error) {
	r := n.Do(c.t.Context(), &kv.Op{Verb: kv.Get, Key: []byte(key)}, nil)
	return string(r.Entry.Value), r.Err
}

// want fails the test unless a key has a value through all nodes.
func (c *cluster) want(key, value string) {
	c.t.Helper()
	for _, n := range c.nodes() {
		if got, err := c.get(n, key); err != nil || got != value {
			c.t.Fatalf("get %q through %s: %q, %v; want %q", key, n.Name(), got, err, value)
		}
	}
}

// keyOf returns a key that a node owns, the nth of those that begin so.
func (c *cluster) keyOf(owner, prefix string, nth int) string {
	c.t.Helper()
	r := c.nodes()[0].Ring()
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s%d", prefix, i)
		if r.Members()[r.Owner([]byte(key))].Name == owner {
			if nth--; nth < 0 {
				return key
			}
		}
	}
}
