package fresh

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A server ends at once, though a client holds a connection that it does not use,
// and answers what was asked before.
func TestUnusedConnectionsHoldUpNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns Conns
	asked, answer, fresh := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			<-answer
			_, _ = io.WriteString(w, "well")
		}),
		ConnState: func(conn net.Conn, state http.ConnState) {
			conns.Follow(conn, state)
			if state == http.StateNew {
				fresh <- struct{}{}
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	got := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}()
	<-fresh
	<-asked
	unused, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer unused.Close()
	<-fresh

	conns.Close()
	if n, err := unused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection that nobody used: read %d, %v; want its end", n, err)
	}
	shut := make(chan error, 1)
	go func() { shut <- server.Shutdown(context.Background()) }()
	<-served
	close(answer)
	if err := <-shut; err != nil {
		t.Error(err)
	}
	if body := <-got; body != "well" {
		t.Errorf("what was asked before was answered with %q", body)
	}
}

func TestLateConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	var conns Conns
	conns.close()
	late, other := net.Pipe()
	defer other.Close()
	conns.Follow(late, http.StateNew)
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %v, want its end", err)
	}
}
