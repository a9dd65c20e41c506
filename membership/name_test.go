package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// asking answers for the nodes whose peer addresses it is given, as their peer
// listeners would.
func asking(nodes map[string]*testNode) func(*Config) {
	return func(c *Config) {
		c.Identify = func(_ context.Context, addr string) (string, uint64, error) {
			n, ok := nodes[addr]
			if !ok {
				return "", 0, errors.New("connection refused")
			}
			return n.cfg.Name, n.cfg.Facts.Boot, nil
		}
	}
}

// A recreated container has its old name and a new address. Those who knew
// the old one let it in.
func TestSameNameAtANewAddress(t *testing.T) {
	t.Parallel()
	lab := newLab()
	// memberlist does not forget the old one before the test ends.
	unforgotten := func(c *Config) { c.Timing.Dead = 2 * patience }
	a := lab.start(t, "a", edits(member, unforgotten))
	b := lab.start(t, "b", edits(member, unforgotten, seeds(a.Addr())))
	c := lab.start(t, "c", edits(member, unforgotten, seeds(a.Addr())))
	seeAll(t, a, b, c)
	was := b.Addr()
	b.kill()
	// It comes while the others still take the old one to be up.
	b = lab.start(t, "b", edits(member, unforgotten, seeds(a.Addr()), asking(nil)))
	seeAll(t, a, b, c)
	if b.Addr() == was {
		t.Fatal("same address")
	}
	until(t, "b to join", b.Joined)
}

// A newcomer whose name is taken finds out before it has joined, and says
// where the other one is. The one that was there first notices nothing.
func TestDuplicateNameIsRefused(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
	twin := lab.start(t, "b", edits(seeds(a.Addr()), asking(map[string]*testNode{"b:7947": b})))
	err := twin.finish(t)
	if !errors.Is(err, ErrDuplicateName) {
		t.Fatalf("Run of the twin: %v, want ErrDuplicateName", err)
	}
	for _, want := range []string{`"b"`, twin.Addr(), b.Addr(), "b:7947"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
	if twin.Joined() || len(twin.View().Nodes()) > 1 {
		t.Errorf("the twin had joined, and saw %s", twin.View())
	}
	// News travel on: b can still tell a something.
	if err := b.Update(func(f *Facts) { f.Zone = "east" }); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "b to be in zone east", func(v *View) bool {
		n, _ := v.Find("b")
		if n.Status != Alive || n.Gossip != b.Addr() || n.Boot != b.cfg.Facts.Boot {
			t.Errorf("a sees b as %+v", n)
		}
		return n.Zone == "east"
	})
}

// Two nodes that each began alone find out when they meet. The member of a
// ring keeps its name, and the other one ends.
func TestDuplicateNameFoundOutLate(t *testing.T) {
	t.Parallel()
	lab := newLab()
	peers := make(map[string]*testNode)
	a := lab.start(t, "a", edits(member))
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
	peers["b:7947"] = b
	addr := freeAddr(t, "127.0.0.1")
	lab.move(addr, 1)
	twin := lab.start(t, "b", edits(at(addr), founder, seeds(a.Addr()), asking(peers)))
	until(t, "the twin to begin alone", twin.Joined)
	lab.move(addr, 0)
	if err := twin.finish(t); !errors.Is(err, ErrDuplicateName) {
		t.Fatalf("Run of the twin: %v, want ErrDuplicateName", err)
	}
	seeAll(t, a, b)
}

// A node that was out of reach for so long that it was replaced comes back. It
// ends, though it is a member like its replacement; that one goes on.
func TestReplacedNodeEndsWhenItComesBack(t *testing.T) {
	t.Parallel()
	lab := newLab()
	peers := make(map[string]*testNode)
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	was := lab.start(t, "c", edits(member, seeds(a.Addr()), asking(peers)))
	seeAll(t, a, b, was)
	until(t, "c to join", was.Joined)
	lab.move(was.Addr(), 1)
	a.sees(t, "c", Down)
	b.sees(t, "c", Down)
	is := lab.start(t, "c", edits(member, seeds(a.Addr(), was.Addr()), asking(peers), func(c *Config) {
		c.Facts.Peer = "c2:7947"
	}))
	seeAll(t, a, b, is)
	until(t, "the replacement to join", is.Joined)
	peers["c:7947"], peers["c2:7947"] = was, is
	lab.move(was.Addr(), 0)
	err := was.finish(t)
	if !errors.Is(err, ErrDuplicateName) || !strings.Contains(err.Error(), is.Addr()) {
		t.Fatalf("Run of the one that was replaced: %v, want ErrDuplicateName and %s", err, is.Addr())
	}
	// What the others say of c by now they say after the claims.
	if err := is.Update(func(f *Facts) { f.Zone = "east" }); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "c to be in zone east", func(v *View) bool {
		n, _ := v.Find("c")
		return n.Zone == "east" && n.Gossip == is.Addr()
	})
	select {
	case <-is.done:
		t.Errorf("the replacement ended too: %v", is.err)
	default:
	}
}

// Of two joined nodes of one name never both end, and one does once either is
// in a ring.
func TestOneOfTwoYields(t *testing.T) {
	t.Parallel()
	first, second := Facts{Boot: 1}, Facts{Boot: 2}
	ringFirst, ringSecond := Facts{Boot: 1, Member: true}, Facts{Boot: 2, Member: true}
	for _, c := range []struct {
		a, b         Facts
		aEnds, bEnds bool
	}{
		{first, second, false, false},
		{ringFirst, second, false, true},
		{first, ringSecond, true, false},
		{ringFirst, ringSecond, true, false},
	} {
		if got := outranks(&c.b, &c.a); got != c.aEnds {
			t.Errorf("%+v yields to %+v: %t", c.a, c.b, got)
		}
		if got := outranks(&c.a, &c.b); got != c.bEnds {
			t.Errorf("%+v yields to %+v: %t", c.b, c.a, got)
		}
	}
}

// Nobody yields to a life that is over, even where its successor answers: that
// one may be about to yield itself.
func TestNobodyYieldsToAnEarlierLife(t *testing.T) {
	t.Parallel()
	p, err := New(Config{
		Name: "a", Listen: "127.0.0.1:0", Facts: Facts{Boot: 1, Member: true},
		Identify: func(context.Context, string) (string, uint64, error) { return "a", 3, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.joined.Store(true)
	rival := Node{Name: "a", Facts: Facts{Boot: 2, Member: true, Peer: "a:7947"}}
	if err := p.settle(t.Context(), &rival); err != nil {
		t.Error(err)
	}
	rival.Boot = 3
	if err := p.settle(t.Context(), &rival); !errors.Is(err, ErrDuplicateName) {
		t.Errorf("%v, want ErrDuplicateName", err)
	}
}

// A process that restarts at once, at its old address, was never seen to be
// down. Its new boot identity tells.
func TestFastRestart(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
	before, _ := a.View().Find("b")
	b.kill()
	b = lab.start(t, "b", edits(member, at(b.Addr()), seeds(a.Addr())))
	a.wait(t, "b's new boot", func(v *View) bool {
		n, _ := v.Find("b")
		return n.Boot == b.cfg.Facts.Boot && n.Boot != before.Boot
	})
	until(t, "b to join", b.Joined)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"n1": true, "thunder-1.example": true, "knoten-ä": true, strings.Repeat("n", maxName): true,
		"": false, "a b": false, "a/b": false, "a,b": false, "a\n": false, "\xff": false,
		strings.Repeat("n", maxName+1): false,
	} {
		if err := validateName(name); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	for seed, want := range map[string]string{
		"host": "host 7946", "host:1": "host 1", "10.0.0.1": "10.0.0.1 7946", "::1": "::1 7946",
		"[::1]": "::1 7946", "[::1]:9": "::1 9",
		"": "", ":1": "", "host:": "", "host:0": "", "host:65536": "", "host:http": "", "a:b:c": "",
	} {
		host, port, err := splitSeed(seed)
		if got := fmt.Sprint(host, " ", port); err == nil && got != want || err != nil && want != "" {
			t.Errorf("seed %q: %q, %v, want %q", seed, got, err, want)
		}
	}
}

// A second process over a copy of a node's store, which remembers the ring, is
// the one that ends, also when it meets the first before anybody else.
func TestTwinOverACopyOfTheStore(t *testing.T) {
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprint("direct=", direct), func(t *testing.T) {
			t.Parallel()
			lab := newLab()
			a := lab.start(t, "a", member)
			var peers sync.Map // *testNode by peer address
			asks := func(c *Config) {
				c.Identify = func(_ context.Context, addr string) (string, uint64, error) {
					n, ok := peers.Load(addr)
					if !ok {
						return "", 0, errors.New("connection refused")
					}
					return "b", n.(*testNode).cfg.Facts.Boot, nil
				}
			}
			b := lab.start(t, "b", edits(member, seeds(a.Addr()), asks))
			peers.Store("b:7947", b)
			seeAll(t, a, b)
			until(t, "the first to join", b.Joined)
			seed := a.Addr()
			if direct {
				seed = b.Addr()
			}
			twin := lab.start(t, "b", edits(seeds(seed), asks, func(c *Config) {
				c.Facts.Peer, c.Facts.Ring = "b2:7947", 2
			}))
			peers.Store("b2:7947", twin)
			select {
			case <-twin.done:
			case <-time.After(20 * time.Second):
				t.Fatal("the twin goes on")
			}
			select {
			case <-b.done:
				t.Error("the first has ended")
			default:
			}
		})
	}
}
