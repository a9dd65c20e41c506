package httpapi

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
)

// BenchmarkKey compares what a request for a key costs with what the same
// costs a bare gorilla/mux server over a map: both behind net/http, on a
// connection that costs nothing.
//
//	go test -run - -bench Key -count 6 ./httpapi
func BenchmarkKey(b *testing.B) {
	const put = "PUT /v1/kv/key HTTP/1.1\r\nHost: n1\r\nContent-Length: 36\r\n\r\n0123456789abcdef0123456789abcdef0123"
	const get = "GET /v1/kv/key HTTP/1.1\r\nHost: n1\r\n\r\n"
	for _, request := range []string{get, put} {
		method := request[:3]
		b.Run(method+"/thunderdb", func(b *testing.B) {
			s := newFake(b).serve(b, Config{})
			benchmarkServer(b, s.httpServer(b.Context(), new(sync.WaitGroup)),
				func(l net.Listener) net.Listener { return listener{l} }, put, request)
		})
		b.Run(method+"/mux", func(b *testing.B) {
			benchmarkServer(b, &http.Server{Handler: bareServer()},
				func(l net.Listener) net.Listener { return l }, put, request)
		})
	}
}

func benchmarkServer(b *testing.B, server *http.Server, wrap func(net.Listener) net.Listener, put, request string) {
	b.ReportAllocs()
	l := &connListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(wrap(l)) }()
	serveLoop(l, put, 1)
	b.ResetTimer()
	serveLoop(l, request, b.N)
	b.StopTimer()
	_ = server.Close()
	<-served
}

// serveLoop has the server behind l answer a request n times.
func serveLoop(l *connListener, request string, n int) {
	c := &loopConn{request: request, left: n, done: make(chan struct{})}
	c.cond = sync.NewCond(&c.mu)
	l.conns <- c
	<-c.done
}

// bareServer is what httpapi is measured against.
func bareServer() http.Handler {
	var mu sync.RWMutex
	values := map[string][]byte{}
	r := mux.NewRouter()
	r.HandleFunc("/v1/kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		mu.RLock()
		value, found := values[mux.Vars(r)["key"]]
		mu.RUnlock()
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(value)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, _ := io.ReadAll(r.Body)
		mu.Lock()
		values[mux.Vars(r)["key"]] = value
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}).Methods(http.MethodPut)
	return r
}

// loopConn is a connection whose client sends a request again once it was
// answered, and takes no time.
type loopConn struct {
	request string
	left    int
	done    chan struct{}

	mu      sync.Mutex // guards what follows
	cond    *sync.Cond // of aborted
	unread  string
	pending bool // a request was sent and not answered
	aborted bool // by a deadline in the past
	ended   bool
}

func (c *loopConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.unread == "" {
		switch {
		case c.aborted:
			return 0, os.ErrDeadlineExceeded
		case c.ended:
			return 0, io.EOF
		case c.pending:
			c.cond.Wait()
		case c.left == 0:
			c.ended = true
			close(c.done)
		default:
			c.left--
			c.unread, c.pending = c.request, true
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *loopConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = false
	return len(p), nil
}

func (c *loopConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = !t.IsZero() && t.Year() < 2000
	c.cond.Broadcast()
	return nil
}

func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *loopConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// connListener accepts the connections it was given.
type connListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error   { close(l.closed); return nil }
func (l *connListener) Addr() net.Addr { return &net.TCPAddr{} }
