package client_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode starts a server that answers with h, and returns its address.
func fakeNode(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// newClient returns a client of addrs that is closed before they are.
func newClient(t testing.TB, o client.Options, addrs ...string) *client.Client {
	t.Helper()
	c, err := o.New(addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// deadAddr returns an address at which nobody listens.
func deadAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// refuse answers as a node does that returns one of client.Codes, with applied
// as it is.
func refuse(w http.ResponseWriter, name, applied string) {
	for _, code := range client.Codes() {
		if code.Name != name {
			continue
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(code.Status)
		json.NewEncoder(w).Encode(client.Problem{
			Type: "urn:thunderdb:problem:" + name, Title: code.Err.Error(), Status: code.Status,
			Code: name, Node: "n1", Retryable: code.Retryable, Applied: applied,
		})
		return
	}
	panic("no such code: " + name)
}

// hangUp breaks the connection of a request that was read.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
