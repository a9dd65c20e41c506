package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// contacts are all the ways to reach a peer.
var contacts = map[string]func(ctx context.Context, c *Client) error{
	"do": func(ctx context.Context, c *Client) error {
		call := callOf(Reads, get("k"))
		if err := c.Do(ctx, call); err != nil {
			return err
		}
		return call.Results[0].Err
	},
	"ask": func(ctx context.Context, c *Client) error { return c.Ask(ctx, "question", nil, nil) },
	"scan": func(ctx context.Context, c *Client) error {
		_, err := c.Scan(ctx, ScanRequest{})
		return err
	},
}

func TestOnlyTheNodeThatIsMeantIsServed(t *testing.T) {
	t.Parallel()
	in := func(cluster string) Identity {
		return Identity{Name: "client", Cluster: func() string { return cluster }}
	}
	for _, tc := range []struct {
		name, server, there, here string
		want                      error
	}{
		{"same cluster", "server", "c", "c", nil},
		{"peer knows no cluster", "server", "", "c", nil},
		{"this node knows no cluster", "server", "c", "", nil},
		{"another cluster", "server", "d", "c", ErrForeign},
		{"another name", "other", "c", "c", ErrForeign},
		{"a name that needs escaping", "ser ver%\r\n", "c", "c", ErrForeign},
	} {
		for how, contact := range contacts {
			t.Run(tc.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				served := false
				node := &fakeNode{
					serve: func(context.Context, *Call) { served = true },
					scan:  func(context.Context, ScanRequest) (ScanPage, error) { served = true; return ScanPage{}, nil },
				}
				answers := map[string]AnswerFunc{"question": jsonless(func(context.Context, []byte) (any, error) {
					served = true
					return nil, nil
				})}
				self := in(tc.there)
				self.Name = tc.server
				addr := serve(t, ServerConfig{Self: self}, node, answers)
				err := contact(within(t, 10*time.Second), dialled(t, ClientConfig{Self: in(tc.here)}, addr))
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if served != (tc.want == nil) {
					t.Errorf("served: %t", served)
				}
			})
		}
	}
}

// The one who asks checks too, for a stranger may not.
func TestAnswersOfStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{
		"other node":    headerFrom + ": other\r\n",
		"other cluster": headerFrom + ": server\r\n" + headerCluster + ": d\r\n",
		"no node":       "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "127.0.0.1:0")
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					r := bufio.NewReader(conn)
					req, err := http.ReadRequest(r)
					if err == nil && req.Method == http.MethodGet {
						io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+protocol+"\r\n"+from+"\r\n")
						io.Copy(io.Discard, r)
					} else {
						io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+from+"\r\n{}")
					}
					conn.Close()
				}
			}()
			for how, contact := range contacts {
				err := contact(within(t, 10*time.Second), dialled(t, ClientConfig{}, l.Addr().String()))
				if !errors.Is(err, ErrForeign) || errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", how, err)
				}
			}
		})
	}
}

func TestVersionsAreToldApart(t *testing.T) {
	t.Parallel()
	addr := serve(t, ServerConfig{}, &fakeNode{}, nil)
	for _, upgrade := range []string{protocolFamily + "1", protocolFamily + "3", "websocket", ""} {
		req, _ := http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, "http://"+addr+pathStream, nil)
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgrade}, headerTo: {"server"}, "Connection2": {"close"}}
		req.Close = true
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") != protocol || !strings.Contains(string(body), protocol) {
			t.Errorf("%q: %s, Upgrade: %s, %s", upgrade, resp.Status, resp.Header.Get("Upgrade"), body)
		}
	}

	newer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", protocolFamily+"3")
		w.WriteHeader(http.StatusUpgradeRequired)
	}))
	defer newer.Close()
	c := dialled(t, ClientConfig{}, newer.Listener.Addr().String())
	err := c.Do(within(t, 10*time.Second), callOf(Reads, get("k")))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), protocolFamily+"3") {
		t.Errorf("a peer of the next version: %v", err)
	}
}

func TestUnreachablePeer(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	l.Close()
	for how, contact := range contacts {
		err := contact(within(t, time.Minute), dialled(t, ClientConfig{}, addr))
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "server") {
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, _, _, err := Identify(within(t, time.Minute), nil, addr); !errors.Is(err, ErrUnavailable) {
		t.Errorf("identify: %v", err)
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	self := Identity{Name: "n 1", Boot: 1<<64 - 1, Cluster: func() string { return "c/1" }}
	addr := serve(t, ServerConfig{Self: self}, &fakeNode{}, nil)
	name, boot, cluster, err := Identify(within(t, 10*time.Second), nil, addr)
	if err != nil || name != self.Name || boot != self.Boot || cluster != "c/1" {
		t.Errorf("%q, %d, %q, %v", name, boot, cluster, err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, _, _, err := Identify(within(t, 10*time.Second), nil, other.Listener.Addr().String()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("of what is no node: %v", err)
	}
}

// A node's address may be used by another process later: it is recognized
// anew whenever a connection is made.
func TestAddressTakenByAnotherNode(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	stop := serveOn(t, l, ServerConfig{}, &fakeNode{}, nil)
	c := dialled(t, ClientConfig{}, addr)
	ctx := within(t, 10*time.Second)
	if err := c.Do(ctx, callOf(Reads, get("k"))); err != nil {
		t.Fatal(err)
	}
	stop()
	t.Cleanup(serveOn(t, listen(t, addr), ServerConfig{Self: named("other")}, &fakeNode{}, nil))
	waitFor(t, func() bool {
		err := c.Do(ctx, callOf(Reads, get("k")))
		if err == nil {
			t.Fatal("another node serves the call")
		}
		return errors.Is(err, ErrForeign)
	})
}

// A peer that returns is used again, without a word to the client.
func TestReconnect(t *testing.T) {
	t.Parallel()
	node := &fakeNode{}
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	c := dialled(t, ClientConfig{}, addr)
	ctx := within(t, 30*time.Second)
	for life := range 3 {
		stop := serveOn(t, l, ServerConfig{}, node, nil)
		key := fmt.Sprint(life)
		waitFor(t, func() bool { return c.Do(ctx, callOf(Writes, put(key, "v"))) == nil })
		stop()
		waitFor(t, func() bool { return c.Do(ctx, callOf(Writes, put(key, "v"))) != nil })
		if err := c.Do(ctx, callOf(Writes, put(key, "v"))); !errors.Is(err, ErrUnavailable) {
			t.Errorf("while it is down: %v", err)
		}
		l = listen(t, addr)
	}
	l.Close()
}

// A connection that is not a node's costs nothing but itself.
func TestServerSurvivesRubbish(t *testing.T) {
	t.Parallel()
	addr := serve(t, ServerConfig{}, &fakeNode{}, nil)
	upgrade := "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol +
		"\r\n" + headerTo + ": server\r\n" + headerLane + ": 0\r\n\r\n"
	for name, bytes := range map[string]string{
		"no HTTP":        "\x16\x03\x01 hello\r\n\r\n",
		"early frame":    upgrade + "\x00\x00\x00\x01\x00",
		"no such lane":   strings.Replace(upgrade, ": 0", ": 9", 1),
		"malformed scan": "POST /v1/scan HTTP/1.1\r\nHost: x\r\nThunderdb-To: server\r\nConnection: close\r\nContent-Length: 1\r\n\r\n\xff",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, bytes)
		if strings.HasPrefix(name, "no such") {
			conn.(*net.TCPConn).CloseWrite()
		}
		if answer, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the connection stays open after %q", name, answer)
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, upgrade)
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	io.WriteString(conn, "\x00\x00\x00\x03abc")
	if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
		t.Errorf("a malformed frame is answered with %d bytes, %v", n, err)
	}
	if err := dialled(t, ClientConfig{}, addr).Do(within(t, 10*time.Second), callOf(Reads, get("k"))); err != nil {
		t.Errorf("a call afterwards: %v", err)
	}
}

// meaning returns a client of the node called server, with that storage
// identity, at addr.
func meaning(t *testing.T, storage uint64, addr string) *Client {
	t.Helper()
	c := NewClient(ClientConfig{Self: named("client")}, "server", addr, storage)
	t.Cleanup(func() { c.Close() })
	return c
}

// storing is the identity of the node called server over that store.
func storing(storage func() uint64) Identity {
	self := named("server")
	self.Storage = storage
	return self
}

// Who means one life of a node is not served by another.
func TestOnlyTheStorageThatIsMeantIsServed(t *testing.T) {
	t.Parallel()
	const high = 1<<64 - 1
	for _, tc := range []struct {
		meant, there uint64
		want         error
	}{{high, high, nil}, {0, high, nil}, {0, 0, nil}, {high, high - 1, ErrForeign}, {high, 0, ErrForeign}} {
		for how, contact := range contacts {
			served := false
			node := &fakeNode{
				serve: func(context.Context, *Call) { served = true },
				scan:  func(context.Context, ScanRequest) (ScanPage, error) { served = true; return ScanPage{}, nil },
			}
			answers := map[string]AnswerFunc{"question": jsonless(func(context.Context, []byte) (any, error) {
				served = true
				return nil, nil
			})}
			addr := serve(t, ServerConfig{Self: storing(func() uint64 { return tc.there })}, node, answers)
			if err := contact(within(t, 10*time.Second), meaning(t, tc.meant, addr)); !errors.Is(err, tc.want) {
				t.Errorf("%s of %x where there is %x: %v, want %v", how, tc.meant, tc.there, err, tc.want)
			}
			if served != (tc.want == nil) {
				t.Errorf("%s of %x where there is %x: served: %t", how, tc.meant, tc.there, served)
			}
		}
	}
}

// A node that takes a new identity while it is connected serves no more what
// was meant for the old one.
func TestStorageThatChanges(t *testing.T) {
	t.Parallel()
	var storage atomic.Uint64
	storage.Store(5)
	served := 0
	addr := serve(t, ServerConfig{Self: storing(storage.Load)}, &fakeNode{serve: func(context.Context, *Call) { served++ }}, nil)
	c, ctx := meaning(t, 5, addr), within(t, 10*time.Second)
	for _, lane := range []Lane{Writes, ReplicaWrites} {
		storage.Store(5)
		served = 0
		if err := c.Do(ctx, callOf(lane, get("k"))); err != nil {
			t.Fatal(err)
		}
		storage.Store(6)
		call := callOf(lane, get("k"), get("l"))
		if err := c.Do(ctx, call); err != nil {
			t.Fatal(err)
		}
		for _, r := range call.Results {
			if !errors.Is(r.Err, ErrForeign) {
				t.Errorf("lane %d: %v", lane, r.Err)
			}
		}
		if served != 1 {
			t.Errorf("lane %d: %d calls are served, want 1", lane, served)
		}
	}
}

// The one who asks looks at the storage too.
func TestAnswersOfAnotherStorageAreRefused(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"", headerStorage + ": 6\r\n", headerStorage + ": x\r\n"} {
		l := listen(t, "127.0.0.1:0")
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"+headerFrom+": server\r\n"+from+"\r\n{}")
				}
				conn.Close()
			}
		}()
		if err := meaning(t, 5, l.Addr().String()).Ask(within(t, 10*time.Second), "question", nil, nil); !errors.Is(err, ErrForeign) {
			t.Errorf("%q: %v", from, err)
		}
	}
}
