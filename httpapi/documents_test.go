package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/node"
)

func TestListKeys(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{Now: func() time.Time { return time.Unix(3_000_000_000, 0) }})
	ask(s, "PUT", "/v1/kv/p%2Fa", "123")
	ask(s, "PUT", "/v1/kv/p%FF?ttl=500ms", "")
	ask(s, "PUT", "/v1/kv/q", "")
	ask(s, "PUT", "/v1/kv/p-deleted", "")
	ask(s, "DELETE", "/v1/kv/p-deleted", "")
	first := ask(s, "GET", "/v1/keys?prefix=p&limit=1", "")
	want := `{"keys":[{"key":"p/a","etag":"\"0190000000010000-0000000000000007\"","size":3}],"cursor":"cC9h","complete":false}` + "\n"
	if first.Body.String() != want {
		t.Errorf("got %swant %s", first.Body, want)
	}
	second := ask(s, "GET", "/v1/keys?prefix=p&limit=1&cursor=cC9h", "")
	want = `{"keys":[{"key_b64":"cP8=","etag":"\"0190000000020000-0000000000000007\"","size":0,` +
		`"expires":"2065-01-24T05:20:00.5Z"}],"cursor":"","complete":true}` + "\n"
	if second.Body.String() != want {
		t.Errorf("got %swant %s", second.Body, want)
	}
	if w := ask(s, "GET", "/v1/keys?prefix=none", ""); w.Body.String() != `{"keys":[],"cursor":"","complete":true}`+"\n" {
		t.Errorf("none: %s", w.Body)
	}
	for _, bad := range []string{"limit=0", "limit=10001", "limit=x", "cursor=!"} {
		if w := ask(s, "GET", "/v1/keys?"+bad, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
	var asked int
	f.list = func(req node.ListRequest) error { asked = req.Limit; return nil }
	for query, want := range map[string]int{"": 1000, "?limit=10000": 10_000} {
		if ask(s, "GET", "/v1/keys"+query, ""); asked != want {
			t.Errorf("%q asks for %d", query, asked)
		}
	}
	f.list = func(node.ListRequest) error { return errUnavailableForTest }
	if w := ask(s, "GET", "/v1/keys", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{Limits: Limits{BatchOps: 7, Value: 10}})
	w := ask(s, "POST", "/v1/batch", `[
		{"op":"put","key":"a","value":"1"}, {"op":"put","key":"a","value":"<2>","ttl":"1h","content_type":"x/y"},
		{"op":"get","key":"a"}, {"op":"put","key_b64":"/w==","value_b64":"/g=="}, {"op":"get","key_b64":"/w=="},
		{"op":"delete","key":"a"}, {"op":"get","key":"a"}]`)
	want := `[{"op":"put","key":"a","status":201,"etag":"\"0190000000010000-0000000000000007\""},` +
		`{"op":"put","key":"a","status":204,"etag":"\"0190000000020000-0000000000000007\""},` +
		`{"op":"get","key":"a","status":200,"etag":"\"0190000000020000-0000000000000007\"","value":"<2>"},` +
		`{"op":"put","key_b64":"/w==","status":201,"etag":"\"0190000000030000-0000000000000007\""},` +
		`{"op":"get","key_b64":"/w==","status":200,"etag":"\"0190000000030000-0000000000000007\"","value_b64":"/g=="},` +
		`{"op":"delete","key":"a","status":204},{"op":"get","key":"a","status":404,"error":"key not found"}]` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d\n%swant\n%s", w.Code, w.Body, want)
	}
	if got := ask(s, "GET", "/v1/kv/%FF", ""); header(got, "Content-Type") != typeBinary {
		t.Errorf("content type %q", header(got, "Content-Type"))
	}
	if w := ask(s, "POST", "/v1/batch", `[]`); w.Code != 200 || w.Body.String() != "[]\n" {
		t.Errorf("empty: %d %s", w.Code, w.Body)
	}
	put := `{"op":"put","key":"new","value":"1"}`
	for bad, want := range map[string]string{
		``: "JSON array", `{}`: "JSON array", `[` + put: "does not end", `[` + put + `]x`: "goes on",
		`[` + put + `,{"op":"get"}]`:                               "element 1: neither key nor key_b64",
		`[` + put + `,{"op":"post","key":"a"}]`:                    `element 1: op \"post\": want`,
		`[` + put + `,{"op":"put","key":"a"}]`:                     "element 1: neither value nor value_b64",
		`[{"op":"get","key":""}]`:                                  "element 0: the key is empty",
		`[{"op":"get","key":"a","key_b64":"YQ=="}]`:                "element 0: key and key_b64 are both",
		`[{"op":"put","key":"a","value":"1","ttl":"-1s"}]`:         "element 0: ttl",
		`[{"op":"put","key":"a","value":"1","content_type":"\n"}]`: "element 0: the content type",
		`[{"op":"get","key":"\ud800"}]`:                            "surrogate",
		"[{\"op\":\"get\",\"key\":\"\xff\"}]":                      "not UTF-8",
	} {
		w := ask(s, "POST", "/v1/batch", bad)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
	for large, want := range map[string]string{
		`[` + put + `,{"op":"put","key":"a","value":"12345678901"}]`:   "element 1: the value of 11 bytes",
		`[` + put + strings.Repeat(`,{"op":"get","key":"a"}`, 7) + `]`: "more operations than the limit of 7",
	} {
		w := ask(s, "POST", "/v1/batch", large)
		if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", large, w.Code, w.Body)
		}
	}
	if w := ask(s, "GET", "/v1/kv/new", ""); w.Code != http.StatusNotFound {
		t.Errorf("part of a bad batch was done: %d", w.Code)
	}
}

// A batch that reads much does so a part at a time, in order.
func TestBatchInParts(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{})
	var ops []string
	for i := range 3 * batchReads {
		ops = append(ops, fmt.Sprintf(`{"op":"put","key":"k","value":"%d"}`, i), `{"op":"get","key":"k"}`)
	}
	w := ask(s, "POST", "/v1/batch", "["+strings.Join(ops, ",")+"]")
	var results []struct{ Value string }
	if err := json.Unmarshal(w.Body.Bytes(), &results); err != nil || len(results) != len(ops) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i := range 3 * batchReads {
		if got := results[2*i+1].Value; got != fmt.Sprint(i) {
			t.Fatalf("read %d gave %s", i, got)
		}
	}
}

func TestClusterDocuments(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	ask(s, "PUT", "/v1/kv/a%2F%FF", "1")
	f.status = node.Status{
		Cluster: "c1", Ring: 17, Change: &node.Change{To: 18, WaitingFor: []string{"n2"}, BytesToMove: 9, BytesMoved: 2}, UnderReplicated: 3, Hints: 8,
		Members: []node.MemberState{{
			Name: "n1", HTTP: "h:1", Peer: "h:2", Gossip: "h:3", Status: "alive", Weight: 1, Zone: "z",
			Partitions: 4, Keys: 5, Bytes: 6, Software: "v7",
		}},
	}
	const member = `"members":[{"name":"n1","http":"h:1","peer":"h:2","gossip":"h:3","status":"alive","weight":1,` +
		`"zone":"z","partitions":4,"keys":5,"bytes":6,"version":"v7"}]}` + "\n"
	check := func(path, want string) {
		t.Helper()
		if w := ask(s, "GET", path, ""); w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d\n%swant\n%s", path, w.Code, w.Body, want)
		}
	}
	check("/v1/cluster", `{"name":"c1","ring_version":17,"settled":false,"change":{"to":18,"waiting_for":["n2"],`+
		`"bytes_to_move":9,"bytes_moved":2},"hints":8,"under_replicated":3,`+member)
	f.status.Change = nil
	check("/v1/cluster", `{"name":"c1","ring_version":17,"settled":false,"change":null,"hints":8,"under_replicated":3,`+member)
	f.status.UnderReplicated, f.status.Hints, f.status.Settled = 0, 0, true
	f.status.LastRepair = time.Date(2033, 5, 18, 5, 33, 20, 7e6, time.FixedZone("", 7200))
	check("/v1/cluster", `{"name":"c1","ring_version":17,"settled":true,"change":null,"hints":0,"under_replicated":0,`+
		`"last_repair":"2033-05-18T03:33:20Z",`+member)
	check("/v1/explain/a%2F%FF", `{"key_b64":"YS//","partition":3,"owner":"n2","replicas":[`+
		`{"name":"n2","addr":"127.0.0.1:8081","alive":true,"version":"0190000000010000-0000000000000007","state":"live"},`+
		`{"name":"n1","addr":"127.0.0.1:8080","alive":false,"state":"unknown"}],"ring_version":17}`+"\n")

	var doc struct {
		Version, Partitions, Replicas int
		Members                       []struct{ Name, HTTP, Zone string }
		Table                         [][]int
	}
	if err := json.Unmarshal(ask(s, "GET", "/v1/ring", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != 17 || doc.Partitions != 8 || doc.Replicas != 1 || len(doc.Table) != 8 ||
		doc.Members[0].HTTP != "n1.test:8080" || doc.Members[0].Zone != "z1" {
		t.Errorf("ring %+v", doc)
	}
	for p, members := range doc.Table {
		if fmt.Sprint(members) != fmt.Sprint(f.ring.Replicas(p)) {
			t.Errorf("partition %d is on %v", p, members)
		}
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for _, path := range []string{"/livez", "/readyz"} {
		if w := ask(s, "GET", path, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	f.ready, f.ring = fmt.Errorf("%w: no seed has answered", node.ErrNotReady), nil
	f.list = func(node.ListRequest) error { return f.ready }
	for _, path := range []string{"/readyz", "/v1/cluster", "/v1/ring", "/v1/keys", "/v1/explain/a"} {
		w := ask(s, "GET", path, "")
		if w.Code != http.StatusServiceUnavailable || header(w, "Retry-After") == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask(s, "GET", "/readyz", ""); !strings.Contains(w.Body.String(),
		`"title":"node not ready","status":503,"detail":"no seed has answered"`) {
		t.Errorf("reasons: %s", w.Body)
	}
	if w := ask(s, "GET", "/livez", ""); w.Code != http.StatusOK {
		t.Errorf("livez: %d", w.Code)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{})
	for request, want := range map[string]string{
		"POST /v1/keys":            "405 GET, HEAD",
		"GET /v1/bulk":             "405 POST",
		"HEAD /v1/export":          "405 GET",
		"PATCH /v1/kv/a":           "405 DELETE, GET, HEAD, PUT",
		"POST /get/a":              "405 GET, HEAD",
		"GET /":                    "404 ",
		"GET /v1/kv":               "404 ",
		"GET /v1/keys/":            "404 ",
		"GET /v1/cluster/leave":    "405 POST",
		"PUT /v1/cluster/forget/a": "405 POST",
		"POST /v1/cluster/forget/": "400 ",
		"POST /v1/cluster/forget":  "404 ",
		"GET /v1/explain/":         "400 ",
		"HEAD /ping":               "200 ",
		"GET //v1/keys":            "404 ",
		"GET /v1/../v1/keys":       "404 ",
		"PUT /v1%2Fkv/a":           "404 ",
		"DELETE /get/a":            "405 GET, HEAD",
		"GET /delete/a":            "405 DELETE",
		"GET /v1/keys?prefix=%zz":  "400 ",
		"GET /snapshot?scope=what": "400 ",
	} {
		method, target, _ := strings.Cut(request, " ")
		w := ask(s, method, target, "")
		if got := fmt.Sprint(w.Code, " ", header(w, "Allow")); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}
