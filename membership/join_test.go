package membership

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolOfThree(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	c := lab.start(t, "c", seeds(a.Addr()))
	seeAll(t, a, b, c)
	a.wait(t, "both facts of c", func(v *View) bool {
		n, _ := v.Find("c")
		return n.HTTP == "c:8080" && n.Peer == "c:7947"
	})
	for _, n := range []*testNode{a, b, c} {
		n.sees(t, "a", Alive)
		n.sees(t, "b", Alive)
		n.sees(t, "c", Joining)
	}
}

func TestSeedComesUpLate(t *testing.T) {
	t.Parallel()
	lab := newLab()
	addr := freeAddr(t, "127.0.0.1")
	b := lab.start(t, "b", seeds(addr))
	lab.move(addr, 1)
	until(t, "b to try thrice", func() bool { return lab.lost(addr) >= 3 })
	if b.Joined() {
		t.Fatal("joined though no seed has answered")
	}
	lab.move(addr, 0)
	a := lab.start(t, "a", at(addr))
	seeAll(t, a, b)
	until(t, "b to join", b.Joined)
}

// A seed that takes connections and says nothing does not keep a node from
// joining by another, and is left alone while a connection to it is open.
func TestSilentSeed(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int32
	var taking sync.WaitGroup
	taking.Go(func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			defer conn.Close()
		}
	})
	t.Cleanup(func() { silent.Close(); taking.Wait() })
	lab := newLab()
	gone := freeAddr(t, "127.0.0.1")
	lab.move(gone, 1)
	a := lab.start(t, "a", nil)
	b := lab.start(t, "b", edits(seeds(silent.Addr().String(), a.Addr(), gone), func(c *Config) {
		c.Timing.Stream = 2 * patience
	}))
	seeAll(t, a, b)
	until(t, "b to join", b.Joined)
	until(t, "more attempts", func() bool { return lab.lost(gone) >= 5 })
	if n := taken.Load(); n > 1 {
		t.Errorf("%d connections to the silent seed", n)
	}
}

// Gossip may tell of a node whose answer to a dial was lost. Until this node
// has joined it must ask again.
func TestNodeKnownByGossipIsAskedAgain(t *testing.T) {
	t.Parallel()
	const seed, other = "127.0.0.1:1", "127.0.0.1:2"
	p, err := New(Config{Name: "b", Listen: "127.0.0.1:0", Seeds: []string{seed}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.table.see(Node{Name: "a", Gossip: seed}, time.Now())
	p.table.see(Node{Name: "c", Gossip: other}, time.Now())
	got := p.targets(t.Context())
	slices.Sort(got)
	if want := []string{seed, other}; !slices.Equal(got, want) {
		t.Errorf("newcomer dials %q, want %q", got, want)
	}
	p.joined.Store(true)
	if got := p.targets(t.Context()); len(got) > 0 {
		t.Errorf("once joined it dials %q, though both are up", got)
	}
}

// A name may stand for nothing yet, then for many nodes of which not all are
// up, and is looked up anew each time.
func TestNameOfManySeeds(t *testing.T) {
	t.Parallel()
	lab := newLab()
	addr := freeAddr(t, "127.0.0.3")
	_, port, _ := net.SplitHostPort(addr)
	a := lab.start(t, "a", at(addr))
	up, never := netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.2")
	var asked atomic.Int32
	b := lab.start(t, "b", func(c *Config) {
		c.Seeds = []string{"pool.test:" + port}
		c.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
			switch asked.Add(1) {
			case 1:
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			case 2:
				return nil, nil
			case 3:
				return []netip.Addr{never}, nil
			}
			return []netip.Addr{never, up}, nil
		}
	})
	seeAll(t, a, b)
}

// A pool that was joined is found again when its only known node has moved
// and only its name tells where.
func TestNameOfASeedThatMoves(t *testing.T) {
	t.Parallel()
	lab := newLab()
	addr := freeAddr(t, "127.0.0.4")
	_, port, _ := net.SplitHostPort(addr)
	a := lab.start(t, "a", edits(member, at(addr)))
	var points atomic.Value // netip.Addr
	points.Store(netip.MustParseAddr("127.0.0.4"))
	b := lab.start(t, "b", func(c *Config) {
		c.Seeds = []string{"a.test:" + port}
		c.lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{points.Load().(netip.Addr)}, nil
		}
	})
	seeAll(t, a, b)
	a.kill()
	b.sees(t, "a", Down)
	points.Store(netip.MustParseAddr("127.0.0.5"))
	moved := lab.start(t, "a", edits(member, at("127.0.0.5:"+port)))
	seeAll(t, moved, b)
}

// Who may serve alone: one without seeds; a founder or a member once its seeds
// have been silent for long enough; nobody else.
func TestAlone(t *testing.T) {
	t.Parallel()
	lab := newLab()
	gone := freeAddr(t, "127.0.0.1")
	lab.move(gone, 1)
	until(t, "one without seeds to join", lab.start(t, "a", nil).Joined)
	joiner := lab.start(t, "d", seeds(gone))
	until(t, "a founder to join", lab.start(t, "b", edits(founder, seeds(gone))).Joined)
	until(t, "a member to join", lab.start(t, "c", edits(member, seeds(gone))).Joined)
	if joiner.Joined() {
		t.Error("a joiner founds its own pool")
	}
}
