package membership

import (
	"strings"
	"testing"
)

// Nodes of two clusters never mix, and both sides say why.
func TestForeignClusterIsRefused(t *testing.T) {
	t.Parallel()
	lab := newLab()
	var here, there journal
	a := lab.start(t, "a", edits(member, of("red"), into(&here)))
	b := lab.start(t, "b", edits(member, of("blue"), seeds(a.Addr()), into(&there)))
	const refused = "refused a node of another cluster"
	until(t, "a to complain", func() bool { return strings.Contains(here.String(), refused) })
	until(t, "b to complain", func() bool { return strings.Contains(there.String(), refused) })
	for _, want := range []string{"cluster=blue", "other_cluster=red", "other_addr=" + a.Addr()} {
		if !strings.Contains(there.String(), want) {
			t.Errorf("b's log lacks %s:\n%s", want, there.String())
		}
	}
	until(t, "b to go on alone", b.Joined)
	for _, n := range []*testNode{a, b} {
		if nodes := n.View().Nodes(); len(nodes) != 1 {
			t.Errorf("%s sees %s", n.cfg.Name, n.View())
		}
	}
}

// A node that has no cluster yet may speak to one of each. It must not lead
// them together, and it loses sight of the one that it does not join.
func TestNewcomerBetweenTwoClusters(t *testing.T) {
	t.Parallel()
	lab := newLab()
	red := lab.start(t, "red", edits(member, of("red")))
	blue := lab.start(t, "blue", edits(member, of("blue")))
	c := lab.start(t, "c", seeds(red.Addr(), blue.Addr()))
	seeAll(t, red, c)
	seeAll(t, blue, c)
	if err := c.Update(func(f *Facts) { f.Cluster = "red" }); err != nil {
		t.Fatal(err)
	}
	c.sees(t, "blue", "")
	blue.sees(t, "c", "")
	seeAll(t, red, c)
	for _, pair := range [][2]*testNode{{red, blue}, {blue, red}} {
		if _, ok := pair[0].View().Find(pair[1].cfg.Name); ok {
			t.Errorf("%s sees %s", pair[0].cfg.Name, pair[0].View())
		}
	}
}

// What is no gossip of ours is dropped, and does no harm.
func TestStrangersAtTheDoor(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	for _, body := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\xdb\x01", "\xdb\x01\x40red", "\xdb\x01\x00", "\xdb\x02\x00\x08"} {
		send(t, "udp", a.Addr(), body)
		send(t, "tcp", a.Addr(), body)
	}
	b := lab.start(t, "b", edits(member, seeds(a.Addr())))
	seeAll(t, a, b)
}
