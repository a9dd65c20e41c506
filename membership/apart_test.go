package membership

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// enough is how many times a node that is down must have been tried before it
// may come back: by then memberlist has long given it up. It is 1 s of trying
// every 50 ms, where memberlist forgets after 300 ms.
const enough = 20

// Two sides of a network that was cut find each other again long after
// memberlist has forgotten, and without seeds to help.
func TestCutHealsAfterMemberlistHasForgotten(t *testing.T) {
	t.Parallel()
	lab := newLab()
	b := lab.start(t, "b", member)
	c := lab.start(t, "c", edits(member, seeds(b.Addr())))
	host, port, _ := net.SplitHostPort(b.Addr())
	var nameless atomic.Bool
	a := lab.start(t, "a", edits(member, seeds("b.test:"+port), func(c *Config) {
		c.lookup = func(context.Context, string) ([]netip.Addr, error) {
			if nameless.Load() {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr(host)}, nil
		}
	}))
	seeAll(t, a, b, c)
	nameless.Store(true)
	lab.move(a.Addr(), 1)
	a.sees(t, "b", Down)
	a.sees(t, "c", Down)
	b.sees(t, "a", Down)
	b.sees(t, "c", Alive)
	before := lab.lost(b.Addr()) + lab.lost(c.Addr())
	until(t, "many attempts", func() bool {
		return lab.lost(b.Addr())+lab.lost(c.Addr()) >= before+2*enough
	})
	lab.move(a.Addr(), 0)
	seeAll(t, a, b, c)
	for _, n := range []*testNode{a, b, c} {
		n.sees(t, "a", Alive)
	}
}

// A member that was away for long is looked for by those who stayed, even if
// it knows nobody.
func TestMemberThatComesBackLate(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
	addr := b.Addr()
	b.kill()
	lab.move(addr, 1)
	a.sees(t, "b", Down)
	before := lab.lost(addr)
	until(t, "many attempts", func() bool { return lab.lost(addr) >= before+enough })
	lab.move(addr, 0)
	b = lab.start(t, "b", edits(member, at(addr)))
	seeAll(t, a, b)
}

// A node that was in no ring is forgotten once it is down: whoever comes and
// goes without having joined leaves no trace.
func TestStrangersAreForgotten(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	c := lab.start(t, "c", seeds(a.Addr()))
	seeAll(t, a, b, c)
	b.kill()
	c.kill()
	a.sees(t, "c", "")
	a.sees(t, "b", Down)
}

// One that leaves says so first; one that dies does not.
func TestLeavingIsToldFromDead(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	c := lab.start(t, "c", edits(member, seeds(a.Addr())))
	seeAll(t, a, b, c)
	if err := b.Update(func(f *Facts) { f.Leaving = true }); err != nil {
		t.Fatal(err)
	}
	a.sees(t, "b", Leaving)
	b.leave()
	c.kill()
	for name, leaving := range map[string]bool{"b": true, "c": false} {
		a.sees(t, name, Down)
		if n, _ := a.View().Find(name); n.Leaving != leaving {
			t.Errorf("%s is down: Leaving = %t, want %t", name, n.Leaving, leaving)
		}
	}
}

// A node that stops in good order is seen to be down at once: no probe needs
// to find out.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	lab := newLab()
	slow := func(c *Config) { c.Timing.Probe = patience }
	a := lab.start(t, "a", edits(member, slow))
	b := lab.start(t, "b", edits(member, slow, seeds(a.Addr())))
	seeAll(t, a, b)
	until(t, "b to join", b.Joined) // others may see it a moment before
	b.leave()
	a.sees(t, "b", Down)
}

// A node that does not answer is suspect before it is down.
func TestSuspicion(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
	lab.move(b.Addr(), 1)
	a.sees(t, "b", Suspect)
	lab.move(b.Addr(), 0)
	a.sees(t, "b", Alive)
}
