//go:build long

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// A network partition that lasts longer than memberlist remembers the dead
// heals by itself.
func TestPartitionOf90SecondsHeals(t *testing.T) {
	t.Parallel()
	lan := newLAN(t, 3)
	nodes := lan.nodes
	for _, n := range nodes {
		n.start()
	}
	lan.awaitAlive(nodes, 3)
	if _, stderr, code := nodes[0].try("put", "before", "v"); code != 0 {
		t.Fatalf("put: exit code %d: %s", code, stderr)
	}

	lan.cut(2)
	lan.awaitAlive(nodes[:2], 2)
	lan.awaitAlive(nodes[2:], 1)
	theirs := lan.keyOf("n3")
	if _, stderr, code := nodes[0].try("put", theirs, "v"); code != 1 || !strings.Contains(stderr, "503") && !strings.Contains(stderr, "unavailable") {
		t.Errorf("a write to a node that is cut off: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := nodes[0].try("put", lan.keyOf("n2"), "v"); code != 0 {
		t.Errorf("a write that needs nobody who is cut off: exit code %d: %s", code, stderr)
	}
	// Not a wait for a condition: this is the fault itself.
	time.Sleep(90 * time.Second)

	lan.join(2)
	lan.awaitAlive(nodes, 3)
	for _, n := range nodes {
		if stdout, stderr, code := n.try("get", "before"); code != 0 || stdout != "v" {
			t.Errorf("get through %s: %q, exit code %d: %s", n.name, stdout, code, stderr)
		}
		if _, stderr, code := n.try("put", theirs, "w"); code != 0 {
			t.Errorf("put through %s: exit code %d: %s", n.name, code, stderr)
		}
	}
}

// lan is network namespaces, one for each node, on a switch in a namespace of
// its own.
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
	subnet := "10.77.0"
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
		n := newNode(t, fmt.Sprintf("n%d", i+1), addr)
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

// ip runs the command of that name.
func (l *lan) ip(args ...string) {
	l.t.Helper()
	cmd := exec.CommandContext(context.Background(), "ip", args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		l.t.Errorf("ip %s: %v", strings.Join(args, " "), err)
	}
}

// cut pulls the plug of a node, and join puts it back.
func (l *lan) cut(i int)  { l.ip("-n", l.hub(), "link", "set", fmt.Sprintf("port%d", i), "down") }
func (l *lan) join(i int) { l.ip("-n", l.hub(), "link", "set", fmt.Sprintf("port%d", i), "up") }

// awaitAlive waits until each node sees so many of the three members up.
func (l *lan) awaitAlive(nodes []*node, alive int) {
	l.t.Helper()
	await(l.t, 90*time.Second, func() error {
		for _, n := range nodes {
			st, err := n.seen()
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

// seen is the cluster as the node tells it to a command in its namespace.
func (n *node) seen() (*client.Cluster, error) {
	stdout, stderr, code := n.try("status", "-o", "json")
	if code != 0 {
		return nil, fmt.Errorf("status at %s: exit code %d: %s", n.name, code, stderr)
	}
	st := new(client.Cluster)
	return st, json.Unmarshal([]byte(stdout), st)
}

// keyOf returns a key that a node owns.
func (l *lan) keyOf(owner string) string {
	l.t.Helper()
	for i := range 1000 {
		key := fmt.Sprintf("key%d", i)
		stdout, _, _ := l.nodes[0].try("explain", key, "-o", "json")
		var x client.Explanation
		if json.Unmarshal([]byte(stdout), &x) == nil && x.Owner == owner {
			return key
		}
	}
	l.t.Fatalf("no key of %s found", owner)
	return ""
}
