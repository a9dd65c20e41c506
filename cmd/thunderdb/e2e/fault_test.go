package e2e

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Faults under load, on nodes whose stores are on disk, with three replicas.
// Each ends with the same checks: all that was acknowledged is there through
// every node, what was deleted is gone, and all replicas are the same.

// durable returns nodes that are not started, with stores on disk. The first
// founds the cluster, and all others know all.
func durable(t *testing.T, count int) []*node {
	t.Helper()
	nodes := newNodes(t, count)
	var seeds []string
	for _, n := range nodes {
		seeds = append(seeds, n.ip+":7946")
	}
	for i, n := range nodes {
		n.dir = t.TempDir()
		n.args = append(n.args, onDisk(n.dir)...)
		if i > 0 {
			n.args = append(n.args, "--join", strings.Join(seeds, ","))
		}
	}
	return nodes
}

// startDurable starts the first three of so many nodes.
func startDurable(t *testing.T, count int) []*node {
	t.Helper()
	nodes := durable(t, count)
	for _, n := range nodes[:3] {
		n.start()
	}
	awaitMembers(t, nodes[:3], 3)
	return nodes
}

// repeat does rounds of something, at least so many, for as long as the tests
// have.
func repeat(t *testing.T, least int, round func()) {
	t.Helper()
	began := time.Now()
	for number := 1; ; number++ {
		round()
		if t.Failed() || number >= least && time.Since(began) >= soakTime(t) {
			t.Logf("%d rounds in %v", number, time.Since(began))
			return
		}
	}
}

// kill -9 of any one node, again and again.
func TestKillAnyNode(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	nodes := startDurable(t, 3)
	l := startTraffic(t, rnd, false, nodes...)
	longest := time.Duration(0)
	repeat(t, 4, func() {
		victim := nodes[rnd.IntN(3)]
		l.of(victim).shaking.Store(true)
		killed := time.Now()
		victim.kill()
		l.more(100 + rnd.Int64N(400))
		refused := l.refusedFor(killed)
		longest = max(longest, refused)
		victim.start()
		awaitMembers(t, nodes, 3)
		l.of(victim).shaking.Store(false)
		l.more(100)
		t.Logf("%s: writes through the others were refused for %v; back after %v", victim.name, refused, time.Since(killed))
	})
	if longest > detection {
		t.Errorf("writes through nodes that live were refused for %v", longest)
	}
	t.Logf("the longest that writes through nodes that live were refused is %v", longest)
	l.check(nodes...)
	same(t, nodes...)
}

// detection is how long it may take until all have found out that a node is
// down.
const detection = 15 * time.Second

// kill -9 of all nodes at once.
func TestKillAllNodes(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	nodes := startDurable(t, 3)
	l := startTraffic(t, rnd, false, nodes...)
	for _, n := range nodes {
		l.of(n).shaking.Store(true)
	}
	repeat(t, 1, func() {
		l.more(rnd.Int64N(1000))
		for _, n := range nodes {
			_ = n.cmd.Process.Kill()
		}
		for _, i := range rnd.Perm(3) {
			nodes[i].kill()
			nodes[i].start()
		}
		awaitMembers(t, nodes, 3)
	})
	l.check(nodes...)
	same(t, nodes...)
}

// A node that is stopped, and goes on after a while, as if nothing had
// happened.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	nodes := startDurable(t, 3)
	l := startTraffic(t, rnd, false, nodes...)
	repeat(t, 1, func() {
		victim := nodes[rnd.IntN(3)]
		l.of(victim).shaking.Store(true)
		l.of(victim).away.Store(true)
		paused := time.Now()
		victim.signal(syscall.SIGSTOP)
		l.more(500)
		refused := l.refusedFor(paused)
		awaitStatus(t, nodes[(slices.Index(nodes, victim)+1)%3], victim.name, "down")
		l.more(500)
		t.Logf("%s was paused for %v; writes through the others were refused for %v", victim.name, time.Since(paused), refused)
		// It is asked at once, when it cannot know yet that it was away.
		l.of(victim).away.Store(false)
		victim.signal(syscall.SIGCONT)
		awaitMembers(t, nodes, 3)
		l.of(victim).shaking.Store(false)
		l.more(200)
	})
	l.check(nodes...)
	same(t, nodes...)
}

// A rolling restart fails no request of a client that tries another node when
// one refuses.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	nodes := startDurable(t, 3)
	l := startTraffic(t, seeded(t), true, nodes...)
	repeat(t, 1, func() {
		for _, n := range nodes {
			if err := n.stop(); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
			l.more(100)
			n.start()
			awaitMembers(t, nodes, 3)
			l.more(100)
		}
	})
	if failed := l.refused.Load(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	l.check(nodes...)
	same(t, nodes...)
}

// A node that returns with an empty disk is another one: it is taken in again
// by itself, and counts as a replica when it has all.
func TestReturnsWithEmptyDisk(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	nodes := startDurable(t, 3)
	bulk(t, nodes[0], 2000)
	l := startTraffic(t, rnd, false, nodes...)
	repeat(t, 1, func() {
		victim := nodes[1+rnd.IntN(2)]
		before := ringVersion(t, nodes[0])
		l.of(victim).shaking.Store(true)
		victim.kill()
		if err := os.RemoveAll(victim.dir); err != nil {
			t.Fatal(err)
		}
		l.more(200)
		began := time.Now()
		victim.start()
		awaitRing(t, nodes[0], before+1)
		awaitMembers(t, nodes, 3)
		t.Logf("%s is taken in again after %v", victim.name, time.Since(began))
		thrice(t, nodes, 2000)
		l.of(victim).shaking.Store(false)
		l.more(100)
	})
	l.check(nodes...)
	same(t, nodes...)
}

// A member is forgotten; when it comes back all the same, with its old disk, it
// empties itself and joins anew.
func TestForgottenNodeReturns(t *testing.T) {
	t.Parallel()
	nodes := startDurable(t, 3)
	l := startTraffic(t, seeded(t), false, nodes...)
	l.of(nodes[2]).shaking.Store(true)
	nodes[2].kill()
	awaitStatus(t, nodes[0], "n3", "down")
	if _, stderr, code := nodes[0].try("forget", "n3"); code != 0 {
		t.Fatalf("forget: exit code %d: %s", code, stderr)
	}
	awaitMembers(t, nodes[:2], 2)
	l.more(500)
	nodes[2].start()
	awaitMembers(t, nodes, 3)
	if log := nodes[2].logText(); !strings.Contains(log, "it is emptied, and the node joins anew") {
		t.Error("n3 does not say that it starts over")
	}
	l.of(nodes[2]).shaking.Store(false)
	l.more(200)
	l.check(nodes...)
	same(t, nodes...)
}
