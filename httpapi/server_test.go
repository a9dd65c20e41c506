package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/thunderdb/thunderdb/kv"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	full := Backend{Keys: f, Lister: f, Cluster: f, Load: f.begin}
	cfg := Config{Limits: Limits{Key: -1}, Timeouts: Timeouts{Idle: -1}}
	_, err := New(cfg, full, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "key limit") || !strings.Contains(err.Error(), "idle timeout") {
		t.Errorf("error %v", err)
	}
	full.Load = nil
	if _, err := New(Config{}, full, hclog.NewNullLogger(), prometheus.NewRegistry()); err == nil {
		t.Error("a backend without Load is taken")
	}
}

// inBubble serves s on pipes in the time of a synctest bubble, and gives test a
// function that connects.
func inBubble(t *testing.T, s *Server, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		l := &connListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l) }()
		test(t, func() net.Conn {
			server, client := net.Pipe()
			l.conns <- addressed{server}
			return client
		})
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// addressed is a pipe with an address like that of a TCP connection.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// A body that does not come in time is answered with how much did.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	inBubble(t, newFake(t).serve(t, Config{}), func(t *testing.T, dial func() net.Conn) {
		c := dial()
		begin := time.Now()
		resp, body := exchangeRaw(t, c, bufio.NewReader(c), "PUT /v1/kv/k HTTP/1.1\r\nHost: n\r\nContent-Length: 10\r\n\r\nabc")
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "did not arrive within 30s: 3 bytes did") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("after %v", took)
		}
		_ = c.Close()
	})
}

// A connection ends when headers do not come in time, and when no request does.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	inBubble(t, newFake(t).serve(t, Config{}), func(t *testing.T, dial func() net.Conn) {
		for sent, want := range map[string]time.Duration{
			"":                                      30 * time.Second,
			"GET /ping HTTP/1.1\r\nHo":              30 * time.Second,
			"GET /ping HTTP/1.1\r\nHost: n\r\n\r\n": 2 * time.Minute,
		} {
			c := dial()
			begin := time.Now()
			if _, err := io.WriteString(c, sent); err != nil {
				t.Fatal(err)
			}
			_, err := io.ReadAll(c)
			if took := time.Since(begin); err != nil || took != want {
				t.Errorf("%q: %v after %v, want %v", sent, err, took, want)
			}
		}
	})
}

// A timeout counts for each request anew.
func TestTimeoutsBeginAnew(t *testing.T) {
	t.Parallel()
	inBubble(t, newFake(t).serve(t, Config{}), func(t *testing.T, dial func() net.Conn) {
		c := dial()
		in := bufio.NewReader(c)
		for i := range 20 {
			time.Sleep(time.Duration(i) * time.Second)
			for _, request := range []string{
				"PUT /v1/kv/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv", "GET /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n",
			} {
				if resp, body := exchangeRaw(t, c, in, request); resp.StatusCode >= 300 {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
			}
		}
		_ = c.Close()
	})
}

// A client that does not read its answer is cut off.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	inBubble(t, newFake(t).serve(t, Config{}), func(t *testing.T, dial func() net.Conn) {
		c := dial()
		begin := time.Now()
		if _, err := io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: n\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if answer, err := io.ReadAll(c); len(answer) > 0 || err != nil {
			t.Errorf("%q, %v after %v", answer, err, time.Since(begin))
		}
	})
}

// Bodies of any framing: the length is checked before, or while they come.
func TestBodies(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	addr := start(t, f.serve(t, Config{Limits: Limits{Value: 5}}))
	const head = "PUT /v1/kv/k HTTP/1.1\r\nHost: n\r\n"
	for request, want := range map[string]string{
		head + "\r\n": "201",
		head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":              "201",
		head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n":             "413 the value is above the limit of 5 bytes",
		head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n":                            "400 read the body",
		head + "Content-Length: 6\r\n\r\nabcdef":                                                 "413 the value of 6 bytes is above the limit of 5",
		head + "Content-Length: 6\r\nExpect: 100-continue\r\n\r\n":                               "413 the value of 6 bytes is above the limit of 5",
		head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b": "201",
	} {
		c := dial(t, addr)
		resp, body := exchangeRaw(t, c, bufio.NewReader(c), request)
		status, text, _ := strings.Cut(want, " ")
		if !strings.HasPrefix(resp.Status, status) || !strings.Contains(body, text) {
			t.Errorf("%q: %s %s", request, resp.Status, body)
		}
		if stored := f.sorted(); (len(stored) == 1) != (status == "201") {
			t.Errorf("%q: stored %v", request, stored)
		}
		f.change(func() { clear(f.entries) })
	}
}

// The bodies of all requests share a limit of memory, which they give back.
func TestBodyMemory(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	f.do = func(context.Context, *kv.Op) error {
		inside <- struct{}{}
		<-leave
		return nil
	}
	s := f.serve(t, Config{Limits: Limits{BodyBytes: 300 << 10}})
	large := strings.Repeat("v", 200<<10)
	first := make(chan int)
	go func() { first <- ask(s, "PUT", "/v1/kv/k", large).Code }()
	<-inside
	for target, method := range map[string]string{"/v1/kv/l": "PUT", "/put": "POST", "/batch": "POST", "/v1/batch": "POST"} {
		w := ask(s, method, target, large)
		if w.Code != http.StatusTooManyRequests || header(w, "Retry-After") != "1" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	close(leave)
	if code := <-first; code != http.StatusCreated {
		t.Errorf("first: %d", code)
	}
	if n := s.bodyBytes.Load(); n != 0 {
		t.Errorf("%d bytes still count as taken", n)
	}
}

// The headers of a response do not go out with 100 Continue.
func TestContinue(t *testing.T) {
	t.Parallel()
	c := dial(t, start(t, newFake(t).serve(t, Config{})))
	if _, err := io.WriteString(c, "PUT /v1/kv/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(in, interim); err != nil || string(interim) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Errorf("%q, %v", interim, err)
	}
	resp, _ := exchangeRaw(t, c, in, "v")
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("ThunderDB-Node") != "n1" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// Requests sent together are answered in order, each with its own headers.
func TestPipelining(t *testing.T) {
	t.Parallel()
	c := dial(t, start(t, newFake(t).serve(t, Config{})))
	const put = "PUT /v1/kv/k HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv"
	const get = "GET /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n"
	const n = 20
	if _, err := io.WriteString(c, put+strings.Repeat(get+"GET /ping HTTP/1.1\r\nHost: n\r\n\r\n", n)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for i := range 1 + 2*n {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		nodes, owners := resp.Header.Values("ThunderDB-Node"), resp.Header.Values("ThunderDB-Owner")
		wantOwners := 1
		if i > 0 && i%2 == 0 { // a ping
			wantOwners = 0
		}
		if len(nodes) != 1 || len(owners) != wantOwners {
			t.Fatalf("response %d: nodes %q, owners %q", i, nodes, owners)
		}
	}
}

// When the server stops, a request in flight is finished; one that takes too
// long is cut off, and its handler has returned when Serve does.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"finished": 4 * time.Second, "cut off": 11 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			s := f.serve(t, Config{Timeouts: Timeouts{Request: time.Minute}})
			synctest.Test(t, func(t *testing.T) {
				l := &connListener{conns: make(chan net.Conn), closed: make(chan struct{})}
				ctx, stop := context.WithCancel(t.Context())
				served := make(chan error, 1)
				var stopped time.Time
				var ended, returned time.Duration // since then
				f.do = func(ctx context.Context, _ *kv.Op) error {
					time.Sleep(time.Second)
					stop()
					stopped = time.Now()
					select {
					case <-ctx.Done():
					case <-time.After(takes):
					}
					ended = time.Since(stopped)
					time.Sleep(5 * time.Second) // what does not look at its context
					returned = time.Since(stopped)
					return ctx.Err()
				}
				go func() { served <- s.Serve(ctx, l) }()
				server, client := net.Pipe()
				l.conns <- addressed{server}
				_, _ = io.WriteString(client, "GET /v1/kv/k HTTP/1.1\r\nHost: n\r\n\r\n")
				answer, _ := io.ReadAll(client)
				err := <-served
				if want := min(takes, 10*time.Second); ended != want || returned != want+5*time.Second {
					t.Errorf("the handler ended after %v and returned after %v", ended, returned)
				}
				if cutOff := len(answer) == 0; cutOff != (name == "cut off") || cutOff != (err != nil) {
					t.Errorf("error %v, answer %q", err, answer)
				}
			})
		})
	}
}

// A listener that fails ends Serve with its error.
func TestServeFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := newFake(t).serve(t, Config{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
