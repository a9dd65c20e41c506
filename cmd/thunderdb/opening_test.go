package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/node"
)

// A process whose store takes its time says from its first moment that it lives
// and is not ready, and gives its listener back.
func TestWhileOpening(t *testing.T) {
	t.Parallel()
	cfg := defaultConfig()
	cfg.Name = "n1"
	l, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	base := "http://" + l.Addr().String()
	err = whileOpening(t.Context(), &cfg, l, hclog.NewNullLogger(), func() error {
		for path, want := range map[string]int{
			"/livez": 200, "/readyz": 503, "/v1/kv/k": 503, "/v1/keys": 503, "/v1/cluster": 503, "/v1/ring": 503,
			"/v1/explain/k": 503, "/snapshot": 503, "/get/k": 503, "/ping": 200, "/metrics": 200,
		} {
			resp, err := http.Get(base + path)
			if err != nil {
				return err
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != want || want == 503 && !strings.Contains(string(body), "node not ready") {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{opening{}.Leave(t.Context()), opening{}.Forget(t.Context(), "n2", true)} {
		if !errors.Is(err, node.ErrNotReady) {
			t.Errorf("who is a member cannot be changed yet, but: %v", err)
		}
	}
	answered := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			err = c.Close()
		}
		answered <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the listener was not given back: %v", err)
	}
	_ = c.Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
