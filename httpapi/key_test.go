package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/node/peer"
)

// Every byte of a key survives, on the wire as it is sent.
func TestKeysSurvive(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, start(t, f.serve(t, Config{})))
	in := bufio.NewReader(c)
	for path, key := range map[string]string{
		"a%2Fb":                   "a/b",
		"c/d":                     "c/d",
		"/":                       "/",
		"//x//":                   "//x//",
		"..":                      "..",
		"../../etc":               "../../etc",
		"./.":                     "./.",
		"%00":                     "\x00",
		"%25":                     "%",
		"%252F":                   "%2F",
		"%FF%fe":                  "\xff\xfe",
		"%0D%0A":                  "\r\n",
		"%3Fx%23y":                "?x#y",
		"a+b":                     "a+b",
		"%20":                     " ",
		"%E2%98%83":               "☃",
		strings.Repeat("k", 1024): strings.Repeat("k", 1024),
	} {
		put := "PUT /v1/kv/" + path + " HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv"
		if resp, body := exchangeRaw(t, c, in, put); resp.StatusCode != http.StatusCreated {
			t.Errorf("put %q: %d %s", path, resp.StatusCode, body)
		}
		if stored := f.sorted(); len(stored) != 1 || string(stored[0].Key) != key {
			t.Errorf("%q is stored as %v", path, stored)
		}
		get := "GET /v1/kv/" + path + " HTTP/1.1\r\nHost: n\r\n\r\n"
		if resp, body := exchangeRaw(t, c, in, get); resp.StatusCode != http.StatusOK || body != "v" {
			t.Errorf("get %q: %d %q", path, resp.StatusCode, body)
		}
		f.change(func() { clear(f.entries) })
	}
}

func TestKeyRequests(t *testing.T) {
	t.Parallel()
	const tag = `"0190000000010000-0000000000000007"`
	for name, test := range map[string]struct {
		method, target string
		body           string
		headers        []string
		status         int
		want           string // in the body
	}{
		"no key":             {"GET", "/v1/kv/", "", nil, 400, "the key is empty"},
		"no key to put":      {"PUT", "/v1/kv/", "v", nil, 400, "the key is empty"},
		"long key":           {"PUT", "/v1/kv/" + strings.Repeat("k", 1025), "v", nil, 400, "the key has 1025 bytes, the limit is 1024"},
		"absent":             {"GET", "/v1/kv/none", "", nil, 404, `"code":"not_found"`},
		"delete absent":      {"DELETE", "/v1/kv/none", "", nil, 204, ""},
		"replaced":           {"PUT", "/v1/kv/k", "w", nil, 204, ""},
		"created":            {"PUT", "/v1/kv/new", "w", nil, 201, ""},
		"value at the limit": {"PUT", "/v1/kv/k", strings.Repeat("v", 100), nil, 204, ""},
		"value above it":     {"PUT", "/v1/kv/k", strings.Repeat("v", 101), nil, 413, "the value of 101 bytes is above the limit of 100 bytes"},
		"another method":     {"POST", "/v1/kv/k", "", nil, 405, "method_not_allowed"},

		"ttl":                  {"PUT", "/v1/kv/k?ttl=60s", "w", nil, 204, ""},
		"ttl in seconds":       {"PUT", "/v1/kv/k", "w", []string{"ThunderDB-TTL: 60"}, 204, ""},
		"ttl twice, alike":     {"PUT", "/v1/kv/k?ttl=60s", "w", []string{"ThunderDB-TTL: 60s"}, 204, ""},
		"ttl twice, differing": {"PUT", "/v1/kv/k?ttl=60s", "w", []string{"ThunderDB-TTL: 61s"}, 400, "two ttls"},
		"ttl zero":             {"PUT", "/v1/kv/k?ttl=0s", "w", nil, 400, "above zero"},
		"ttl negative":         {"PUT", "/v1/kv/k", "w", []string{"ThunderDB-TTL: -1s"}, 400, "above zero"},
		"ttl empty":            {"PUT", "/v1/kv/k?ttl=", "w", nil, 400, "above zero"},
		"ttl above 100 years":  {"PUT", "/v1/kv/k?ttl=876001h", "w", nil, 400, "100 years"},
		"ttl of many seconds":  {"PUT", "/v1/kv/k?ttl=4294967295", "w", nil, 400, "100 years"},

		"consistency one":     {"GET", "/v1/kv/k", "", []string{"ThunderDB-Consistency: one"}, 200, "v"},
		"consistency quorum":  {"GET", "/v1/kv/k", "", []string{"ThunderDB-Consistency: quorum"}, 200, "v"},
		"consistency all":     {"PUT", "/v1/kv/k", "w", []string{"ThunderDB-Consistency: all"}, 204, ""},
		"consistency unknown": {"GET", "/v1/kv/k", "", []string{"ThunderDB-Consistency: most"}, 400, "want one, quorum or all"},
		"r=1":                 {"GET", "/v1/kv/k?r=1", "", nil, 200, "v"},
		"r=3":                 {"GET", "/v1/kv/k?r=3", "", nil, 200, "v"},
		"r=4":                 {"GET", "/v1/kv/k?r=4", "", nil, 400, "more replicas asked for than the key has"},
		"w=4":                 {"PUT", "/v1/kv/k?w=4", "w", nil, 400, "more replicas asked for than the key has"},
		"w=0":                 {"PUT", "/v1/kv/k?w=0", "w", nil, 400, `w=\"0\": want a number from 1`},
		"w of a read, bad":    {"GET", "/v1/kv/k?w=x", "", nil, 400, `w=\"x\": want a number from 1`},
		"r above any":         {"GET", "/v1/kv/k?r=99999999999", "", nil, 400, "want a number from 1"},
		"w twice":             {"PUT", "/v1/kv/k?w=1&w=2", "w", nil, 400, "w is given twice"},
		"consistency twice": {"PUT", "/v1/kv/k", "w",
			[]string{"ThunderDB-Consistency: one", "ThunderDB-Consistency: all"}, 400, "given twice"},
		"bad query": {"GET", "/v1/kv/k?a=%zz", "", nil, 400, "query"},

		"if-match":              {"PUT", "/v1/kv/k", "w", []string{"If-Match: " + tag}, 204, ""},
		"if-match, another":     {"PUT", "/v1/kv/k", "w", []string{`If-Match: "x"`}, 412, "precondition_failed"},
		"if-match, weak":        {"PUT", "/v1/kv/k", "w", []string{"If-Match: W/" + tag}, 412, ""},
		"if-match, in a list":   {"DELETE", "/v1/kv/k", "", []string{`If-Match: "x", ` + tag}, 204, ""},
		"if-match of none":      {"DELETE", "/v1/kv/none", "", []string{"If-Match: *"}, 412, ""},
		"if-none-match *":       {"PUT", "/v1/kv/k", "w", []string{"If-None-Match: *"}, 412, ""},
		"if-none-match * new":   {"PUT", "/v1/kv/new", "w", []string{"If-None-Match: *"}, 201, ""},
		"if-match malformed":    {"PUT", "/v1/kv/k", "w", []string{"If-Match: x"}, 400, "double quotes"},
		"read if-none-match":    {"GET", "/v1/kv/k", "", []string{"If-None-Match: " + tag}, 304, ""},
		"read, weakly":          {"GET", "/v1/kv/k", "", []string{"If-None-Match: W/" + tag}, 304, ""},
		"read, other":           {"GET", "/v1/kv/k", "", []string{`If-None-Match: "x"`}, 200, "v"},
		"read if-match, other":  {"GET", "/v1/kv/k", "", []string{`If-Match: "x"`}, 412, ""},
		"read if-match, absent": {"GET", "/v1/kv/none", "", []string{`If-Match: *`}, 404, ""},

		"bad content type": {"PUT", "/v1/kv/k", "w", []string{"Content-Type: a\x7f"}, 400, "content type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t).serve(t, Config{Limits: Limits{Value: 100}})
			ask(s, "PUT", "/v1/kv/k", "v")
			w := ask(s, test.method, test.target, test.body, test.headers...)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("%d %s, want %d and %q", w.Code, w.Body, test.status, test.want)
			}
			if w.Code >= 400 && header(w, "Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", header(w, "Content-Type"))
			}
		})
	}
}

// The headers of API.md, the same whether they go the short way or net/http's.
func TestKeyHeaders(t *testing.T) {
	t.Parallel()
	put := "PUT /v1/kv/k?ttl=60s HTTP/1.1\r\nHost: n\r\nContent-Type: text/x\r\nContent-Length: 1\r\n\r\nv"
	get := "GET /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n"
	remove := "DELETE /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n"
	const (
		common   = "Cache-Control: no-cache\nThunderdb-Node: n1\nThunderdb-Owner: n2\nX-Content-Type-Options: nosniff\n"
		modified = "Last-Modified: Mon, 10 Jun 2024 02:35:18 GMT\n"
		expires  = "Thunderdb-Expires: 2033-05-18T03:34:20.000Z\n"
		written  = "Thunderdb-Receipt: n=3; w=2; acked=3; durable=2; hinted=1; ring=17\n"
		read     = "Thunderdb-Receipt: n=3; r=2; answered=2; repaired=1; ring=17\n"
		version1 = `Etag: "0190000000010000-0000000000000007"` + "\n"
	)
	want := []string{
		"201 " + common + version1 + modified + expires + written,
		"200 " + common + version1 + modified + expires + read + "Content-Type: text/x\nContent-Length: 1\n",
		"200 " + common + version1 + modified + expires + read + "Content-Type: text/x\nContent-Length: 1\n",
		"204 " + common + written,
		"404 " + common + read + "Thunderdb-Deleted: true\nContent-Type: application/problem+json\n",
	}
	requests := []string{put, get, strings.Replace(get, "GET", "HEAD", 1), remove, get}

	cfg := Config{Now: func() time.Time { return time.Unix(2_000_000_000, 0) }}
	wire, recorded := newFake(t).serve(t, cfg), newFake(t).serve(t, cfg)
	c := dial(t, start(t, wire))
	in := bufio.NewReader(c)
	for i, request := range requests {
		resp, _ := exchangeRaw(t, c, in, request)
		checkHeaders(t, request, resp, want[i])

		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		if err != nil {
			t.Fatal(err)
		}
		w := newRecorder()
		recorded.ServeHTTP(w, r)
		checkHeaders(t, "recorded "+request, w.Result(), want[i])
	}
}

// checkHeaders compares a response with "status name: value\n...". What net/http
// adds by itself does not count.
func checkHeaders(t *testing.T, request string, resp *http.Response, want string) {
	t.Helper()
	status, lines, _ := strings.Cut(want, " ")
	wanted := strings.Split(strings.TrimSuffix(lines, "\n"), "\n")
	have := http.Header{}
	for name, values := range resp.Header {
		have[http.CanonicalHeaderKey(name)] = values
	}
	for _, line := range wanted {
		name, value, _ := strings.Cut(line, ": ")
		if got := have.Values(name); name != "Content-Length" && (len(got) != 1 || got[0] != value) {
			t.Errorf("%q: %s is %q, want %q", request, name, got, value)
		}
		delete(have, name)
	}
	for _, name := range []string{"Date", "Content-Length"} {
		delete(have, name)
	}
	if fmt.Sprint(resp.StatusCode) != status || len(have) > 0 {
		t.Errorf("%q: status %d, want %s; and headers %v", request, resp.StatusCode, status, have)
	}
}

// An operation's error is answered with its code, and a write whose outcome is
// unclear says so.
func TestOperationErrors(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("ask n2: %w", kv.ErrNotFound)
	lost := fmt.Errorf("ask n2: %w", peer.ErrUnavailable)
	for _, test := range []struct {
		err     error
		status  int
		applied bool
	}{
		// Of a write that one replica may have taken it is not known whether it
		// was applied, whatever the others said.
		{peer.ErrStale, 503, false},
		{errors.Join(peer.ErrStale, lost), 503, true},
		{peer.ErrOverloaded, 429, false},
		{errors.Join(peer.ErrOverloaded, lost), 503, true},
		{errors.Join(kv.ErrConflict, lost), 503, true},
		{peer.ErrClock, 503, false},
		{kv.ErrClockCeiling, 503, false},
		{fmt.Errorf("%w: %w", peer.ErrUnavailable, peer.ErrNotSent), 503, false},
		{node.ErrBadNeed, 400, false},
		{kv.ErrConflict, 409, false},
		{kv.ErrFull, 507, false},
		{context.DeadlineExceeded, 504, true},
		{errors.New("no idea"), 500, true},
		{wrapped, 404, false},
		{fmt.Errorf("%w: %w", errUnavailableForTest, kv.ErrNotFound), 503, true},
	} {
		f := newFake(t)
		f.do = func(context.Context, *kv.Op) error { return test.err }
		s := f.serve(t, Config{})
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			w := ask(s, method, "/v1/kv/k", "")
			applied := strings.Contains(w.Body.String(), `"applied":"unknown"`)
			if w.Code != test.status || applied != (test.applied && method != "GET") {
				t.Errorf("%s with %v: %d %s", method, test.err, w.Code, w.Body)
			}
		}
	}
}

// A deadline passes while the backend works.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.do = func(ctx context.Context, _ *kv.Op) error {
		<-ctx.Done()
		return ctx.Err()
	}
	s := f.serve(t, Config{Timeouts: Timeouts{Request: time.Millisecond}})
	if w := ask(s, "PUT", "/v1/kv/k", "v"); w.Code != http.StatusGatewayTimeout {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.do = func(context.Context, *kv.Op) error { panic("the backend broke") }
	s := f.serve(t, Config{})
	for _, target := range []string{"/v1/kv/k", "/get/k"} {
		if w := ask(s, "GET", target, ""); w.Code != http.StatusInternalServerError ||
			strings.Contains(w.Body.String(), "broke") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if n := s.inFlight.Load(); n != 0 {
		t.Errorf("%d requests still count as in flight", n)
	}
}

func TestOverload(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	f.do = func(context.Context, *kv.Op) error {
		inside <- struct{}{}
		<-leave
		return nil
	}
	s := f.serve(t, Config{Limits: Limits{InFlight: 1}})
	first := make(chan int)
	go func() { first <- ask(s, "GET", "/v1/kv/k", "").Code }()
	<-inside
	w := ask(s, "GET", "/v1/kv/k", "")
	if w.Code != http.StatusTooManyRequests || header(w, "Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", w.Code, header(w, "Retry-After"))
	}
	for _, target := range []string{"/get/k", "/made/up"} {
		if w := ask(s, "GET", target, ""); w.Code != http.StatusTooManyRequests {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	for _, target := range []string{"/livez", "/readyz", "/metrics"} {
		if w := ask(s, "GET", target, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	metrics := ask(s, "GET", "/metrics", "").Body.String()
	for _, route := range []string{"/v1/kv/{key}", "/get/{key}", "none"} {
		line := fmt.Sprintf(`thunderdb_http_requests_total{code="429",method="GET",route="%s"} 1`, route)
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	close(leave)
	if code := <-first; code != http.StatusNotFound {
		t.Errorf("first: %d", code)
	}
}

// Each code that a server answers with is turned back by the client's table,
// and each of the client's errors is one that a server can answer with.
func TestProblemsBothWays(t *testing.T) {
	t.Parallel()
	tab := newTable()
	answered := map[error]bool{}
	for _, m := range tab.meanings {
		code, _ := tab.classify(m.err)
		p := client.Problem{Code: code.Name}
		if !errors.Is(&p, code.Err) || code.Status == 0 {
			t.Errorf("%v is answered with %+v, which the client takes for %v", m.err, code, p.Unwrap())
		}
		answered[code.Err] = true
	}
	code, _ := tab.classify(errors.New("anything"))
	answered[code.Err] = true
	for _, code := range client.Codes() {
		if !answered[code.Err] {
			t.Errorf("no error is answered with %s", code.Name)
		}
	}
}
