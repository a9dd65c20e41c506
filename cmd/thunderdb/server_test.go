package main

import (
	"io"
	"net"
	"testing"
)

// What newServer opened and nobody ran is released: demo does so when a later
// node cannot be made.
func TestCloseOfAServerThatWasNotRun(t *testing.T) {
	t.Parallel()
	cfg := serveConfig{
		Name: "n1", HTTP: "127.0.0.1:0", Gossip: "127.0.0.1:0", Peer: "127.0.0.1:0",
		Store: "memory", Replicas: 1, Weight: 1, LogLevel: "error", LogFormat: "text", MaxValueText: "1MiB",
	}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(&cfg, cfg.logger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	addrs := []string{s.localAddr(), s.peer.Addr().String(), s.pool.Addr()}
	s.close()
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = l.Close()
	}
}
