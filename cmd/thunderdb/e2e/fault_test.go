package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
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

// A node joins, and then one of the first leaves: no key is missing at any
// moment.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	nodes := startDurable(t, 4)
	began := time.Now()
	bulk(t, nodes[0], movedRecords)
	t.Logf("%d records are loaded after %v", movedRecords, time.Since(began))
	l := startTraffic(t, seeded(t), true, nodes[:3]...)

	began = time.Now()
	nodes[3].start()
	moved := awaitMoved(t, nodes, 4)
	awaitMembers(t, nodes, 4)
	t.Logf("n4 is in after %v, with %d bytes moved", time.Since(began), moved)
	thrice(t, nodes, movedRecords)
	balanced(t, nodes[0])
	l.add(nodes[3])
	l.more(200)

	began = time.Now()
	left, rest := nodes[1], []*node{nodes[0], nodes[2], nodes[3]}
	expect(t, 202, http.MethodPost, left.url("/v1/cluster/leave"), "")
	moved = awaitMoved(t, rest, 3)
	left.endsWell(t)
	t.Logf("n2 is out after %v, with %d bytes moved", time.Since(began), moved)
	l.of(left).away.Store(true)
	awaitMembers(t, rest, 3)
	thrice(t, rest, movedRecords)
	balanced(t, nodes[0])
	l.more(200)

	l.check(rest...)
	checkBulk(t, rest, movedRecords)
	if movedRecords <= fewRecords {
		same(t, rest...)
	}
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

// Two nodes join at once.
func TestTwoJoinAtOnce(t *testing.T) {
	t.Parallel()
	nodes := startDurable(t, 5)
	bulk(t, nodes[0], 2000)
	l := startTraffic(t, seeded(t), true, nodes[:3]...)
	nodes[3].start()
	nodes[4].start()
	awaitMembers(t, nodes, 5)
	thrice(t, nodes, 2000)
	l.add(nodes[3:]...)
	l.more(200)
	balanced(t, nodes[0])
	l.check(nodes...)
	checkBulk(t, nodes, 2000)
	same(t, nodes...)
}

// A joiner dies half-way, and so does one that gives to it.
func TestJoinerDiesHalfWay(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	nodes := durable(t, 4)
	for _, n := range nodes {
		n.args = append(n.args, "--transfer-rate", "100KiB") // so that there is a half-way
	}
	for _, n := range nodes[:3] {
		n.start()
	}
	awaitMembers(t, nodes[:3], 3)
	bulk(t, nodes[0], 5000)
	l := startTraffic(t, rnd, false, nodes[:3]...)
	nodes[3].start()
	for _, victim := range []*node{nodes[3], nodes[rnd.IntN(3)]} {
		awaitMoving(t, nodes[3])
		if victim != nodes[3] {
			l.of(victim).shaking.Store(true)
		}
		victim.kill()
		l.more(100)
		victim.start()
	}
	awaitMembers(t, nodes, 4)
	thrice(t, nodes, 5000)
	l.add(nodes[3])
	l.more(200)
	l.check(nodes...)
	checkBulk(t, nodes, 5000)
	same(t, nodes...)
}

// bulk loads records through a node.
func bulk(t *testing.T, n *node, records int) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer writer.Close()
		lines := bufio.NewWriter(writer)
		for i := range records {
			fmt.Fprintf(lines, "%s %s\n", bulkKey(i), bulkValue(i))
		}
		_ = lines.Flush() // who cannot read it says so
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url("/v1/bulk"), reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	last := ""
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		last = s.Text()
	}
	if want := fmt.Sprintf(`{"read":%d,"stored":%[1]d,"failed":0,"done":true}`, records); last != want {
		t.Fatalf("bulk load: %s, want %s", last, want)
	}
}

func bulkKey(i int) string   { return fmt.Sprintf("bulk-%d", i) }
func bulkValue(i int) string { return fmt.Sprintf("record %d, of some length", i) }

// checkBulk reads 5000 of the records at most, through each node.
func checkBulk(t *testing.T, nodes []*node, records int) {
	t.Helper()
	for from, n := range nodes {
		var keys, values []string
		for i := from; i < records; i += max(1, records/5000) {
			keys, values = append(keys, bulkKey(i)), append(values, bulkValue(i))
		}
		lost := 0
		for chunk := range slices.Chunk(keys, 500) {
			for i, got := range getAll(t, n, chunk) {
				if got.Value != values[i] && lost < 5 {
					lost++
					t.Errorf("through %s: %+v, want %q", n.name, got, values[i])
				}
			}
			values = values[len(chunk):]
		}
	}
}

// fewRecords is how many a test holds in memory for each node.
const fewRecords = 10_000

// thrice checks that at this moment, when a change of the ring is over, each
// record is on three of the nodes at least: no repair in the background is
// needed for that.
func thrice(t *testing.T, nodes []*node, records int) {
	t.Helper()
	if records > fewRecords {
		return
	}
	copies := map[string]int{}
	for _, n := range nodes {
		r := expect(t, 200, http.MethodGet, n.url("/snapshot"), "")
		var held map[string]json.RawMessage
		if err := json.Unmarshal([]byte(r.body), &held); err != nil {
			t.Fatalf("snapshot of %s: %v", n.name, err)
		}
		for key := range held {
			copies[key]++
		}
	}
	few := 0
	for i := range records {
		if copies[bulkKey(i)] < 3 {
			few++
		}
	}
	if few > 0 {
		t.Errorf("%d of %d records are on less than three nodes", few, records)
	}
}

// awaitStatus waits until a node has a member in this state.
func awaitStatus(t *testing.T, n *node, member, status string) {
	t.Helper()
	await(t, time.Minute, func() error {
		st, err := n.status()
		if err != nil {
			return err
		}
		if m := st.Member(member); m == nil || m.Status != status {
			return fmt.Errorf("%s sees %+v", n.name, m)
		}
		return nil
	})
}

// awaitMoving waits until a node has fetched something for a change of the ring
// that is under way.
func awaitMoving(t *testing.T, n *node) {
	t.Helper()
	await(t, time.Minute, func() error {
		st, err := n.status()
		if err == nil && (st.Change == nil || st.Change.BytesMoved == 0) {
			err = fmt.Errorf("%s moves nothing: %+v", n.name, st)
		}
		return err
	})
}

// awaitMoved waits until so many members are in a settled ring, and returns how
// many bytes the nodes were seen to have fetched for it.
func awaitMoved(t *testing.T, nodes []*node, members int) (moved int64) {
	t.Helper()
	most := make([]int64, len(nodes))
	await(t, 20*time.Minute, func() error {
		var late error
		for i, n := range nodes {
			st, err := n.status()
			switch {
			case err != nil:
				late = err
			case st.Change != nil:
				most[i] = max(most[i], st.Change.BytesMoved)
				late = fmt.Errorf("%s waits for %+v", n.name, st.Change)
			case !st.Settled || owning(st) != members:
				late = fmt.Errorf("%s sees %+v", n.name, st)
			}
		}
		return late
	})
	for _, bytes := range most {
		moved += bytes
	}
	return moved
}

// owning returns how many members own partitions: neither those that join nor
// those that have left.
func owning(st *client.Cluster) (count int) {
	for _, m := range st.Members {
		if m.Partitions > 0 {
			count++
		}
	}
	return count
}

func ringVersion(t *testing.T, n *node) uint64 {
	t.Helper()
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	return st.RingVersion
}

// awaitRing waits until a node has this ring version or a later one.
func awaitRing(t *testing.T, n *node, version uint64) {
	t.Helper()
	await(t, time.Minute, func() error {
		st, err := n.status()
		if err == nil && st.RingVersion < version {
			err = fmt.Errorf("%s has ring version %d, want %d", n.name, st.RingVersion, version)
		}
		return err
	})
}

// signal sends a signal to the process.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// endsWell waits until a node has ended by itself, with exit code 0.
func (n *node) endsWell(t *testing.T) {
	t.Helper()
	if err := n.ended(t); err != nil {
		t.Errorf("%s ended with %v", n.name, err)
	}
}

// ended waits until a node has ended by itself, and returns how.
func (n *node) ended(t *testing.T) error {
	t.Helper()
	ended := make(chan error, 1)
	cmd := n.cmd
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		n.cmd = nil
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("%s still runs", n.name)
		return nil
	}
}
