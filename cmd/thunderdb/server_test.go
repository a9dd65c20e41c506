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
	cfg := defaultConfig()
	cfg.Name = "n1"
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), &cfg, cfg.logger(io.Discard))
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
