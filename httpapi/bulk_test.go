package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

func TestBulk(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.load = func(rec *node.Record) error {
		if string(rec.Key) == "full" {
			return errors.New("store full")
		}
		return nil
	}
	s := f.serve(t, Config{})
	w := ask(s, "POST", "/v1/bulk", "a 1\n\nbad\nfull 2\nb 3 4\n", "Content-Type: text/plain; charset=utf-8")
	want := `{"line":3,"error":"no space stands between key and value"}
{"line":4,"error":"store full"}
{"read":4,"stored":2,"failed":2,"done":true}
`
	if w.Code != http.StatusOK || w.Body.String() != want || header(w, "Content-Type") != "application/x-ndjson" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if v := f.entries["b"].Value; string(v) != "3 4" {
		t.Errorf("b is %q", v)
	}
	metrics := ask(s, "GET", "/metrics", "").Body.String()
	for _, line := range []string{
		`thunderdb_bulk_records_total{result="stored"} 2`, `thunderdb_bulk_records_total{result="failed"} 2`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no metric %s", line)
		}
	}
}

func TestBulkRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for _, headers := range [][]string{
		{}, {"Content-Type: application/x-www-form-urlencoded"}, {"Content-Type: text/csv", "Content-Encoding: gzip"},
	} {
		if w := ask(s, "POST", "/v1/bulk", "a 1\n", headers...); w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d %s", headers, w.Code, w.Body)
		}
	}
	f.ready = fmt.Errorf("%w: alone", node.ErrNotReady)
	w := ask(s, "POST", "/v1/bulk", "a 1\n", "Content-Type: text/plain")
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "applied") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// bulkStream is a bulk load by hand, over a real connection.
type bulkStream struct {
	t    *testing.T
	body io.WriteCloser
	resp chan *http.Response
	in   *bufio.Scanner // of the response, once it has come
}

// openBulk begins a load of text.
func openBulk(t *testing.T, addr string) *bulkStream {
	pr, pw := io.Pipe()
	b := &bulkStream{t: t, body: pw, resp: make(chan *http.Response, 1)}
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/bulk", pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	go func() {
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Error(err)
		}
		b.resp <- resp
	}()
	return b
}

func (b *bulkStream) send(text string) {
	b.t.Helper()
	if _, err := io.WriteString(b.body, text); err != nil {
		b.t.Fatal(err)
	}
}

// next returns the next line of the answer, or false at its end.
func (b *bulkStream) next() (line client.BulkLine, more bool) {
	b.t.Helper()
	if b.in == nil {
		resp := <-b.resp
		if resp == nil {
			b.t.FailNow()
		}
		b.t.Cleanup(func() { _ = resp.Body.Close() })
		b.in = bufio.NewScanner(resp.Body)
	}
	if !b.in.Scan() {
		return line, false
	}
	if err := json.Unmarshal(b.in.Bytes(), &line); err != nil {
		b.t.Fatalf("%s: %v", b.in.Text(), err)
	}
	return line, true
}

// Progress and errors come while the load goes on.
func TestBulkAnswersMeanwhile(t *testing.T) {
	t.Parallel()
	b := openBulk(t, start(t, newFake(t).serve(t, Config{})))
	b.send("a 1\nbad\n")
	if line, _ := b.next(); line.Line != 2 || line.Error == "" {
		t.Errorf("first %+v", line)
	}
	if line, _ := b.next(); line != (client.BulkLine{Read: 2, Stored: 1, Failed: 1}) {
		t.Errorf("then %+v", line)
	}
	b.send("b 2\n")
	_ = b.body.Close()
	for {
		line, more := b.next()
		if !more {
			t.Fatal("no totals")
		}
		if line.Done {
			if line != (client.BulkLine{Read: 3, Stored: 2, Failed: 1, Done: true}) {
				t.Errorf("totals %+v", line)
			}
			break
		}
	}
}

// A body that stops coming ends the load without totals.
func TestBulkStandsStill(t *testing.T) {
	t.Parallel()
	b := openBulk(t, start(t, newFake(t).serve(t, Config{Timeouts: Timeouts{Stream: 50 * time.Millisecond}})))
	b.send("a 1\nb")
	var last client.BulkLine
	for line, more := b.next(); more; line, more = b.next() {
		last = line
	}
	if last.Done || !strings.Contains(last.Error, "nothing more of the body came within 50ms") {
		t.Errorf("last %+v", last)
	}
	_ = b.body.Close()
}

// The connection of a load that ended early is closed soon after the answer,
// which is whole, and what comes of the body then is no request.
func TestBulkClosesConnection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		framing, sent string
		load          Load
		after         time.Duration
		want          string
	}{
		"stalled":          {"Content-Length: 100", "a 1\nb", nil, time.Minute, "within 1m0s"},
		"stalled, large":   {"Content-Length: 1000000000", "a 1\nb", nil, time.Minute, "within 1m0s"},
		"stalled in chunk": {"Transfer-Encoding: chunked", "99\r\na 1\nb", nil, time.Minute, "within 1m0s"},
		"load failed":      {"Content-Length: 100", "a 1\nGET /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n", failingLoad{}, 0, "node not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t).serve(t, Config{})
			if backend := s.backend.Load; test.load != nil {
				s.backend.Load = func(ctx context.Context, report func(int64, error)) Load {
					return failingLoad{backend(ctx, report)}
				}
			}
			inBubble(t, s, func(t *testing.T, dial func() net.Conn) {
				c := dial()
				begin := time.Now()
				resp, body := exchangeRaw(t, c, bufio.NewReader(c),
					"POST /v1/bulk HTTP/1.1\r\nHost: n\r\nContent-Type: text/plain\r\n"+test.framing+"\r\n\r\n"+test.sent)
				if resp.StatusCode != http.StatusOK || !strings.Contains(body, "the load ended here") || !strings.Contains(body, test.want) {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
				more, err := io.ReadAll(c)
				if took := time.Since(begin) - test.after; len(more) > 0 || err != nil || took > time.Second {
					t.Errorf("then %q, %v, closed %v late", more, err, took)
				}
			})
		})
	}
}

// A body that breaks off ends the load without totals.
func TestBulkBreaksOff(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := dial(t, start(t, f.serve(t, Config{})))
	if _, err := io.WriteString(c, "POST /v1/bulk HTTP/1.1\r\nHost: n\r\nContent-Type: text/plain\r\n"+
		"Content-Length: 100\r\n\r\na 1\nb 2"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(c)
	if strings.Contains(string(answer), "done") || strings.Contains(string(answer), `"stored":2`) {
		t.Errorf("answer %s", answer)
	}
	if _, stored := f.entries["b"]; stored {
		t.Error("half a line was stored")
	}
}

// A client that sends errors for ever and reads none of the answer is cut off
// in time, and holds nothing up until then.
func TestBulkClientDoesNotRead(t *testing.T) {
	t.Parallel()
	s := newFake(t).serve(t, Config{Timeouts: Timeouts{Stream: 100 * time.Millisecond}})
	c := dial(t, start(t, s))
	if _, err := io.WriteString(c, "POST /v1/bulk HTTP/1.1\r\nHost: n\r\nContent-Type: text/plain\r\n"+
		"Content-Length: 100000000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(c, repeat(strings.Repeat("x\n", 1<<10)))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// The load as a whole cannot go on: the answer has an error and no totals.
func TestBulkLoadFails(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	backend := s.backend.Load
	s.backend.Load = func(ctx context.Context, report func(int64, error)) Load {
		return failingLoad{backend(ctx, report)}
	}
	w := ask(s, "POST", "/v1/bulk", "a 1\nb 2\n", "Content-Type: text/plain")
	if got := w.Body.String(); strings.Contains(got, "done") || !strings.Contains(got, `"line":1`) ||
		!strings.Contains(got, "node not ready") {
		t.Error(got)
	}
}

// failingLoad takes nothing.
type failingLoad struct{ Load }

func (failingLoad) Add(node.Record) error { return node.ErrNotReady }

// What an export gives a bulk load takes back, with nothing lost.
func TestExportAndBulk(t *testing.T) {
	t.Parallel()
	from, to := newFake(t), newFake(t)
	a, b := from.serve(t, Config{}), to.serve(t, Config{})
	put := func(path, value string, headers ...string) {
		if w := ask(a, "PUT", "/v1/kv/"+path, value, headers...); w.Code != http.StatusCreated {
			t.Fatalf("put %s: %d %s", path, w.Code, w.Body)
		}
	}
	put("p/text", "\"quoted\"\n\ttext \u2028 <&> 😀\x00\x1f\x7f", "Content-Type: text/plain")
	put("p/json", `{"a":1}`, "Content-Type: application/json")
	put("p/%FF%00", "\xff\xfe", "Content-Type: a/b; c=\"d\\\\\"")
	put("p/ttl", "", "ThunderDB-TTL: 1h", "Content-Type: x/y")
	put("p/untyped", "text") // comes back with the type that it is served with
	put("q/other", "not exported")
	for i := range 2500 { // more than a page
		put(fmt.Sprintf("p/%d", i), fmt.Sprint(i), "Content-Type: text/plain; charset=utf-8")
	}
	ask(a, "DELETE", "/v1/kv/p/7", "")

	exported := ask(a, "GET", "/v1/export?prefix=p/", "")
	if exported.Code != http.StatusOK || header(exported, "Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %s", exported.Code, exported.Body)
	}
	w := ask(b, "POST", "/v1/bulk", exported.Body.String(), "Content-Type: application/x-ndjson")
	if want := `{"read":2504,"stored":2504,"failed":0,"done":true}` + "\n"; !strings.HasSuffix(w.Body.String(), want) { // behind progress, where it is slow
		t.Fatal(w.Body)
	}
	for _, e := range from.sorted() {
		got, found := to.entries[string(e.Key)]
		if strings.HasPrefix(string(e.Key), "q/") {
			if found {
				t.Errorf("%q was exported", e.Key)
			}
			continue
		}
		if e.ContentType == "" {
			e.ContentType = typeBinary
		}
		if string(got.Value) != string(e.Value) || got.ContentType != e.ContentType || got.Expires != e.Expires {
			t.Errorf("%q is %+v, want %+v", e.Key, got, e)
		}
	}
	if len(to.entries) != 2504 {
		t.Errorf("%d entries", len(to.entries))
	}
}

// An export that fails on its way breaks the connection; one that fails at
// once is answered.
func TestExportFails(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for i := range 2500 {
		ask(s, "PUT", fmt.Sprintf("/v1/kv/%d", i), strings.Repeat("x", 100))
	}
	addr := start(t, s)
	for _, path := range []string{"/v1/export", "/snapshot?scope=cluster"} {
		f.change(func() {
			f.list = func(req node.ListRequest) error {
				if req.Cursor != "" {
					return errUnavailableForTest
				}
				return nil
			}
		})
		c := dial(t, addr)
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: n\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 {
			t.Errorf("%s: %d bytes and error %v", path, len(body), err)
		}
		old := dial(t, addr)
		if _, err := fmt.Fprintf(old, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(old); err == nil {
			t.Errorf("%s: by HTTP/1.0 it ends as if it were complete", path)
		}
		f.change(func() { f.list = func(node.ListRequest) error { return errUnavailableForTest } })
		if w := ask(s, "GET", path, ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
