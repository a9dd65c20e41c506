package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A network that is cut between two nodes and one: the one acknowledges
// nothing, the two go on. When it is whole again they are one cluster by
// themselves, however long that took, and soon the same.
func TestPartition(t *testing.T) {
	t.Parallel()
	lan := newLAN(t, 3)
	nodes := lan.nodes
	for _, n := range nodes {
		n.start()
	}
	awaitMembers(t, nodes, 3)
	l := startTraffic(t, seeded(t), false, nodes...)
	minority := l.of(nodes[2])

	minority.shaking.Store(true)
	minority.away.Store(true)
	cut := time.Now()
	lan.cut(2)
	l.more(200)
	refused := l.refusedFor(cut)
	asked := 0
	ask := func() {
		var asking sync.WaitGroup
		for range 12 { // that all three own some of
			asked++
			key := nodes[2].key(fmt.Sprintf("minority-%d", asked))
			asking.Go(func() {
				for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodDelete} {
					if r := send(method, key, "v"); r.status != 503 {
						t.Errorf("%s %s: %d %s", method, key, r.status, shortened(r.body))
					}
				}
			})
		}
		asking.Wait()
	}
	ask() // before it has noticed
	lan.awaitAlive(nodes[:2], 2)
	lan.awaitAlive(nodes[2:], 1)
	ask()
	for noticed := time.Now(); time.Since(noticed) < cutTime; {
		ask()
	}
	l.more(200)
	t.Logf("the network was cut for %v; writes through the majority were refused for %v; the minority refused %d requests", time.Since(cut), refused, 3*asked)

	lan.join(2)
	healed := time.Now()
	minority.away.Store(false)
	awaitMembers(t, nodes, 3)
	minority.shaking.Store(false)
	l.more(200)
	l.check(nodes...)
	same(t, nodes...)
	took := time.Since(healed)
	t.Logf("one cluster, and the same, %v after the network was", took)
	if took > time.Minute {
		t.Error("that is more than a minute")
	}
}

// A fifth of the packets of gossip is lost: nobody is taken for dead, the ring stays
// as it is, and clients notice nothing.
func TestGossipPacketsLost(t *testing.T) {
	t.Parallel()
	need(t, "nft")
	lan := newLAN(t, 3)
	for _, n := range lan.nodes {
		n.start()
	}
	awaitMembers(t, lan.nodes, 3)
	before, err := lan.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	for i := range lan.nodes {
		lan.nft(i, "add table inet lossy")
		lan.nft(i, "add counter inet lossy lost")
		lan.nft(i, "add chain inet lossy out { type filter hook output priority 0 ; }")
		lan.nft(i, "add rule inet lossy out udp dport 7946 numgen random mod 5 == 0 counter name lost drop")
	}
	l := startTraffic(t, seeded(t), false, lan.nodes...)
	for begun := time.Now(); time.Since(begun) < cutTime; {
		l.more(100)
		for _, n := range lan.nodes {
			st, err := n.status()
			if err != nil || st.RingVersion != before.RingVersion || st.UnderReplicated > 0 || st.Change != nil {
				t.Fatalf("%s sees %+v, %v; want ring %d and nothing else", n.name, st, err, before.RingVersion)
			}
		}
	}
	l.check(lan.nodes...)
	if refused := l.refused.Load(); refused > 0 {
		t.Errorf("%d requests were refused", refused)
	}
	for i, n := range lan.nodes {
		if out := lan.nft(i, "list counter inet lossy lost"); strings.Contains(out, "packets 0 ") {
			t.Errorf("%s has lost no packet: %s", n.name, out)
		}
	}
}

// lan is network namespaces, one for each node, on a switch in a namespace of
// its own. Each has a line to the test besides, for HTTP, which is never cut.
type lan struct {
	t     *testing.T
	id    string // begins the names of everything here
	nodes []*node
}

func newLAN(t *testing.T, count int) *lan {
	t.Helper()
	need(t, "ip")
	l := &lan{t: t, id: fmt.Sprintf("td%04x", rand.IntN(1<<16))}
	if out, err := exec.Command("ip", "netns", "add", l.hub()).CombinedOutput(); err != nil {
		lack(t, "network namespaces cannot be made here: %v: %s", err, out)
	}
	t.Cleanup(func() { l.ip("netns", "del", l.hub()) })
	l.ip("-n", l.hub(), "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.hub(), "link", "set", "br0", "up")
	subnet, lines := "10.77.0", fmt.Sprintf("10.%d.%d", 128+rand.IntN(127), rand.IntN(256))
	for i := range count {
		ns, port := l.place(i), fmt.Sprintf("port%d", i)
		l.ip("netns", "add", ns)
		t.Cleanup(func() { l.ip("netns", "del", ns) })
		l.ip("-n", l.hub(), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
		l.ip("-n", l.hub(), "link", "set", port, "master", "br0", "up")
		addr := fmt.Sprintf("%s.%d", subnet, i+1)
		l.ip("-n", ns, "addr", "add", addr+"/24", "dev", "eth0")
		l.ip("-n", ns, "link", "set", "eth0", "up")
		l.ip("-n", ns, "link", "set", "lo", "up")
		ours, theirs := fmt.Sprintf("%s.%d", lines, 4*i+1), fmt.Sprintf("%s.%d", lines, 4*i+2)
		l.ip("link", "add", l.line(i), "type", "veth", "peer", "name", "eth1", "netns", ns)
		l.ip("addr", "add", ours+"/30", "dev", l.line(i))
		l.ip("link", "set", l.line(i), "up")
		l.ip("-n", ns, "addr", "add", theirs+"/30", "dev", "eth1")
		l.ip("-n", ns, "link", "set", "eth1", "up")
		n := newNode(t, fmt.Sprintf("n%d", i+1), addr)
		n.base = "http://" + theirs + ":8080"
		n.args = append(n.args, "--http", theirs+":8080")
		n.args = append(n.args, onDisk(t.TempDir())...)
		n.inside = []string{"ip", "netns", "exec", ns}
		n.args = append(n.args, "--join", subnet+".1:7946,"+subnet+".2:7946,"+subnet+".3:7946")
		if i == 0 {
			n.args = append(n.args, "--bootstrap")
		}
		l.nodes = append(l.nodes, n)
	}
	return l
}

func (l *lan) hub() string        { return l.id + "hub" }
func (l *lan) place(i int) string { return fmt.Sprintf("%s-%d", l.id, i) }
func (l *lan) line(i int) string  { return fmt.Sprintf("%s-line%d", l.id, i) }

// ip runs the command of that name.
func (l *lan) ip(args ...string) {
	l.t.Helper()
	cmd := exec.CommandContext(context.Background(), "ip", args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		l.t.Errorf("ip %s: %v", strings.Join(args, " "), err)
	}
}

// nft changes the packet filter of a node, and returns what it says.
func (l *lan) nft(i int, command string) string {
	l.t.Helper()
	out, err := exec.CommandContext(context.Background(), "ip", "netns", "exec", l.place(i), "nft", command).CombinedOutput()
	if err != nil {
		l.t.Fatalf("nft %s: %v: %s", command, err, out)
	}
	return string(out)
}

// cut pulls the plug of a node, and join puts it back.
func (l *lan) cut(i int)  { l.ip("-n", l.hub(), "link", "set", fmt.Sprintf("port%d", i), "down") }
func (l *lan) join(i int) { l.ip("-n", l.hub(), "link", "set", fmt.Sprintf("port%d", i), "up") }

// awaitAlive waits until each node sees so many of the three members up.
func (l *lan) awaitAlive(nodes []*node, alive int) {
	l.t.Helper()
	await(l.t, 90*time.Second, func() error {
		for _, n := range nodes {
			st, err := n.status()
			if err != nil {
				return err
			}
			up := 0
			for _, m := range st.Members {
				if m.Status == "alive" {
					up++
				}
			}
			if up != alive || len(st.Members) != len(l.nodes) {
				return fmt.Errorf("%s sees %+v", n.name, st)
			}
		}
		return nil
	})
}
