package main

import (
	"io"
	"slices"
	"testing"
)

// A node that starts over does so at its old addresses, knows its old cluster,
// and founds none, though its command line would let it.
func TestStartOver(t *testing.T) {
	t.Parallel()
	servers, err := newDemo(t.Context(), defaultConfig(), 1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := servers[0]
	cfg := defaultConfig()
	cfg.Name = "n1"
	cfg.Bootstrap, cfg.Join = true, []string{"seed:7946"}
	if !cfg.founds() {
		t.Fatal("it would not have founded a cluster")
	}
	next, err := s.startOver(t.Context(), &cfg)
	s.close()
	if err != nil {
		t.Fatal(err)
	}
	if next.founds() || !slices.Equal(next.Join, []string{"seed:7946"}) {
		t.Errorf("founds: %v, joins %v", next.founds(), next.Join)
	}
	if next.HTTP != s.http.Addr().String() || next.Peer != s.peer.Addr().String() || next.Gossip != s.pool.Addr() {
		t.Errorf("listens at %s, %s and %s", next.HTTP, next.Peer, next.Gossip)
	}
	again, err := newServer(t.Context(), next, next.logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	again.close()
	// An address that was asked for is not replaced by where it led.
	if got := atPort("localhost:8080", "127.0.0.1:8080"); got != "localhost:8080" {
		t.Error(got)
	}
}
