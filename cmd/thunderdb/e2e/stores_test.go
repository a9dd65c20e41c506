package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A single node answers alike whatever its store is.
func TestEveryStore(t *testing.T) {
	t.Parallel()
	for _, b := range backings() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			n := newNodes(t, 1)[0]
			n.args = append(n.args, b.flags(t)...)
			n.start()
			awaitMembers(t, []*node{n}, 1)
			values(t, n)
			conditions(t, n)
			expiry(t, n)
			oddKeys(t, []*node{n})
			batches(t, n)
			loads(t, n, b)
			originals(t, n)
			listing(t, n, b)
			returns(t, n, b)
		})
	}
}

// expect sends a request and checks its status.
func expect(t *testing.T, status int, method, address, body string, header ...string) reply {
	t.Helper()
	r := send(method, address, body, header...)
	if r.status != status {
		t.Errorf("%s %s: %d %s, want %d", method, address, r.status, shortened(r.body), status)
	}
	return r
}

func shortened(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

func values(t *testing.T, n *node) {
	t.Helper()
	for i, value := range []string{"", "a", "\x00\xff\r\n", strings.Repeat("large ", 160_000)} {
		key := n.key(fmt.Sprint("value", i))
		expect(t, 201, http.MethodPut, key, value, "Content-Type", "text/x-a; b=c")
		r := expect(t, 200, http.MethodGet, key, "")
		if r.body != value || r.header.Get("Content-Type") != "text/x-a; b=c" {
			t.Errorf("value %d: %d bytes came back as %d, of %s", i, len(value), len(r.body), r.header.Get("Content-Type"))
		}
		expect(t, 204, http.MethodPut, key, "next")
		expect(t, 204, http.MethodDelete, key, "")
		expect(t, 204, http.MethodDelete, key, "")
		if r := expect(t, 404, http.MethodGet, key, ""); r.header.Get("ThunderDB-Deleted") != "true" {
			t.Errorf("value %d: not said to be deleted", i)
		}
	}
	if r := expect(t, 413, http.MethodPut, n.key("large"), strings.Repeat("x", 1<<20+1)); !strings.Contains(r.body, "limit") {
		t.Errorf("too large: %s", r.body)
	}
}

func conditions(t *testing.T, n *node) {
	t.Helper()
	key := n.key("condition")
	created := expect(t, 201, http.MethodPut, key, "1", "If-None-Match", "*")
	expect(t, 412, http.MethodPut, key, "2", "If-None-Match", "*")
	etag := created.header.Get("ETag")
	expect(t, 304, http.MethodGet, key, "", "If-None-Match", etag)
	replaced := expect(t, 204, http.MethodPut, key, "3", "If-Match", etag)
	expect(t, 412, http.MethodDelete, key, "", "If-Match", etag)
	expect(t, 204, http.MethodDelete, key, "", "If-Match", replaced.header.Get("ETag"))
}

func expiry(t *testing.T, n *node) {
	t.Helper()
	expect(t, 201, http.MethodPut, n.key("soon")+"?ttl=300ms", "v")
	expect(t, 201, http.MethodPut, n.key("later")+"?ttl=1h", "v")
	await(t, 10*time.Second, func() error {
		if r := send(http.MethodGet, n.key("soon"), ""); r.status != 404 {
			return fmt.Errorf("after its time: %d", r.status)
		}
		return nil
	})
	if r := expect(t, 200, http.MethodGet, n.key("later"), ""); r.header.Get("ThunderDB-Expires") == "" {
		t.Error("no word of when it expires")
	}
	expect(t, 201, http.MethodPut, n.key("soon"), "again")
}

func batches(t *testing.T, n *node) {
	t.Helper()
	var ops []string
	for i := range 500 {
		ops = append(ops, fmt.Sprintf(`{"op":"put","key":"batch%d","value":"v%d"}`, i, i))
	}
	for i := range 500 {
		ops = append(ops, fmt.Sprintf(`{"op":"get","key":"batch%d"}`, i))
	}
	ops = append(ops, `{"op":"delete","key":"batch7"}`, `{"op":"get","key":"batch7"}`)
	r := expect(t, 200, http.MethodPost, n.url("/v1/batch"), "["+strings.Join(ops, ",")+"]")
	for status, want := range map[string]int{"201": 500, "200": 500, "204": 1, "404": 1} {
		if got := strings.Count(r.body, `"status":`+status); got != want {
			t.Errorf("%d operations of the batch have status %s, want %d", got, status, want)
		}
	}
}

// loadedRecords is how many records the load of a store has.
const loadedRecords = 5000

func loads(t *testing.T, n *node, b backing) {
	t.Helper()
	var lines strings.Builder
	for i := range loadedRecords {
		fmt.Fprintf(&lines, "load%05d value %d\n", i, i)
	}
	r := expect(t, 200, http.MethodPost, n.url("/v1/bulk"), lines.String()+"bad\n", "Content-Type", "text/plain")
	if end := fmt.Sprintf(`{"read":%d,"stored":%d,"failed":1,"done":true}`, loadedRecords+1, loadedRecords); !strings.Contains(r.body, end) {
		t.Errorf("load: %s", shortened(r.body))
	}
	for _, i := range []int{0, 777, loadedRecords - 1} {
		if r := expect(t, 200, http.MethodGet, n.key(fmt.Sprintf("load%05d", i)), ""); r.body != fmt.Sprint("value ", i) {
			t.Errorf("record %d: %q", i, r.body)
		}
	}
}

func originals(t *testing.T, n *node) {
	t.Helper()
	expect(t, 200, http.MethodPost, n.url("/put"), `{"original": {"a": [1]}}`)
	if r := expect(t, 200, http.MethodGet, n.url("/get/original"), ""); !strings.Contains(r.body, `{"a": [1]}`) {
		t.Errorf("/get: %s", r.body)
	}
	expect(t, 200, http.MethodPost, n.url("/batch"), `{"one":"1","two":"2"}`)
	expect(t, 200, http.MethodDelete, n.url("/delete/one"), "")
	expect(t, 404, http.MethodGet, n.url("/get/one"), "")
}

func listing(t *testing.T, n *node, b backing) {
	t.Helper()
	if !b.lists {
		for _, path := range []string{"/v1/keys", "/v1/export", "/snapshot"} {
			if r := expect(t, 501, http.MethodGet, n.url(path), ""); !strings.Contains(r.body, "cannot list") {
				t.Errorf("%s: %s", path, r.body)
			}
		}
		return
	}
	stdout, stderr, code := n.try("keys", "load")
	if got := strings.Count(stdout, "\n"); code != 0 || got != loadedRecords {
		t.Errorf("%d keys are listed, want %d: %s", got, loadedRecords, stderr)
	}
	stdout, stderr, code = n.try("export", "load")
	if got := strings.Count(stdout, "\n"); code != 0 || got != loadedRecords {
		t.Errorf("%d keys are exported, want %d: %s", got, loadedRecords, stderr)
	}
	await(t, 10*time.Second, func() error { // what status says is up to 2 s old
		st, err := n.status()
		if err != nil {
			return err
		}
		if got := st.Members[0].Keys; got < loadedRecords {
			return fmt.Errorf("status shows %d keys, want at least %d", got, loadedRecords)
		}
		return nil
	})
	if r := expect(t, 200, http.MethodGet, n.url("/snapshot"), ""); strings.Count(r.body, `"load`) != loadedRecords {
		t.Errorf("the snapshot has %d of the records", strings.Count(r.body, `"load`))
	}
}

// returns kills the node and starts it anew: all that was acknowledged is
// there, where the store outlives the process, or nothing.
func returns(t *testing.T, n *node, b backing) {
	t.Helper()
	before, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	etag := expect(t, 200, http.MethodGet, n.key("later"), "").header.Get("ETag")
	for range 2 {
		n.kill()
		n.start()
		awaitMembers(t, []*node{n}, 1)
		if !b.lasts {
			expect(t, 404, http.MethodGet, n.key("load00001"), "")
			continue
		}
		if after, err := n.status(); err != nil || after.Name != before.Name || after.RingVersion != before.RingVersion {
			t.Errorf("the cluster is %+v after a restart, %v; want %s", after, err, before.Name)
		}
		for i := range loadedRecords {
			if i%100 == 0 {
				expect(t, 200, http.MethodGet, n.key(fmt.Sprintf("load%05d", i)), "")
			}
		}
		if got := expect(t, 200, http.MethodGet, n.key("later"), "").header.Get("ETag"); got != etag {
			t.Errorf("an ETag was %s and is %s", etag, got)
		}
		expect(t, 404, http.MethodGet, n.key("value1"), "") // was deleted
		expect(t, 204, http.MethodPut, n.key("load00001"), "value 1")
	}
	if err := n.stop(); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}

// moreDurable matches a receipt of a majority of disks.
var moreDurable = regexp.MustCompile(`durable=[23];`)

// Three nodes on disk go down together, as in a power cut, and are the same
// cluster with all its keys when they are back; then a fourth joins.
func TestDurableClusterReturns(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 4)
	for i, n := range nodes {
		n.args = append(n.args, onDisk(t.TempDir())...)
		if i > 0 {
			n.args = append(n.args, "--join", nodes[0].ip+":7946")
		}
	}
	three, fourth := nodes[:3], nodes[3]
	for _, n := range three {
		n.start()
	}
	awaitMembers(t, three, 3)
	const keys = 300
	for i := range keys {
		r := expect(t, 201, http.MethodPut, three[i%3].key(fmt.Sprint(i)), fmt.Sprint("v", i))
		if receipt := r.header.Get("ThunderDB-Receipt"); !strings.Contains(receipt, "n=3; w=2;") || !moreDurable.MatchString(receipt) {
			t.Fatalf("receipt %s", receipt)
		}
	}
	before, err := three[1].status()
	if err != nil {
		t.Fatal(err)
	}
	check := func(nodes []*node) {
		t.Helper()
		for i := range keys {
			if r := expect(t, 200, http.MethodGet, nodes[i%len(nodes)].key(fmt.Sprint(i)), ""); r.body != fmt.Sprint("v", i) {
				t.Fatalf("key %d: %+v", i, r)
			}
		}
	}
	for _, n := range three {
		n.kill()
	}
	for _, i := range []int{2, 0, 1} {
		three[i].start()
	}
	awaitMembers(t, three, 3)
	if after, err := three[0].status(); err != nil || after.Name != before.Name || after.RingVersion != before.RingVersion {
		t.Errorf("the cluster is %+v, %v; it was %+v", after, err, before)
	}
	check(three)
	fourth.start()
	awaitMembers(t, nodes, 4)
	check(nodes)
	for _, n := range nodes {
		n.kill()
	}
	for _, n := range nodes {
		n.start()
	}
	awaitMembers(t, nodes, 4)
	check(nodes)
}

// The directory of one node is not taken for another's, nor used twice.
func TestStoreIsOneNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nodes := newNodes(t, 2)
	first, second := nodes[0], nodes[1]
	first.args = append(first.args, onDisk(dir)...)
	second.args = append(second.args, onDisk(dir)...)
	first.start()
	awaitMembers(t, nodes[:1], 1)
	second.start()
	second.ends(t, "is in use by process")
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	second.start()
	second.ends(t, `belongs to \"n1\"`)
}

// ends waits until a node has ended by itself, with an error that has this in
// it.
func (n *node) ends(t *testing.T, message string) {
	t.Helper()
	if n.ended(t) == nil {
		t.Errorf("%s ended without an error", n.name)
	}
	if text := n.logText(); !strings.Contains(text, message) && !strings.Contains(text, strings.ReplaceAll(message, `\`, "")) {
		t.Errorf("%s does not say %q:\n%s", n.name, message, text)
	}
}
