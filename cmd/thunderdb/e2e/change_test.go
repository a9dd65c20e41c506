package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

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

func bulkKey(i int) string { return fmt.Sprintf("bulk-%d", i) }

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
	await(t, 20*time.Minute, func() error {
		var late error
		for _, n := range nodes {
			st, err := n.status()
			switch {
			case err != nil:
				late = err
			case st.Change != nil:
				moved = max(moved, st.Change.BytesMoved)
				late = fmt.Errorf("%s waits for %+v", n.name, st.Change)
			case !st.Settled || owning(st) != members:
				late = fmt.Errorf("%s sees %+v", n.name, st)
			}
		}
		return late
	})
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
