package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// clusterNode is a node that answers what it is asked of the cluster with its
// states, one after the other and the last for ever.
type clusterNode struct {
	states []client.Cluster
	asked  atomic.Int64
	busy   atomic.Int64 // how often it refuses to leave
	srv    *httptest.Server
}

func newClusterNode(t *testing.T, states ...client.Cluster) *clusterNode {
	n := &clusterNode{states: states}
	n.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ThunderDB-Node", "n1")
		switch {
		case r.URL.Path == "/v1/cluster":
			at := min(int(n.asked.Add(1)), len(n.states)) - 1
			if at < 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_ = json.NewEncoder(w).Encode(n.states[at])
		case n.busy.Add(-1) >= 0:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(client.Problem{Type: "x", Code: "busy", Title: client.ErrBusy.Error()})
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(n.srv.Close)
	return n
}

// addr returns the node's host:port.
func (n *clusterNode) addr() string { return strings.TrimPrefix(n.srv.URL, "http://") }

// depart has the node leave as the command does.
func (n *clusterNode) depart(ctx context.Context, t *testing.T) (string, error) {
	t.Helper()
	opts := client.Options{Tries: 1, Timeout: 5 * time.Second}
	db, err := opts.New(n.srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out bytes.Buffer
	d := &departure{db: db, opts: opts, out: &out, every: time.Millisecond, patience: 50 * time.Millisecond}
	err = d.run(ctx)
	return out.String(), err
}

func state(change *client.Change, members ...client.Member) client.Cluster {
	return client.Cluster{Change: change, Members: members}
}

// The command waits until the node is out of the ring and nothing is left to
// hand over, and says how far it is, each thing once.
func TestLeaveWaits(t *testing.T) {
	t.Parallel()
	n1 := client.Member{Name: "n1", Status: "alive", Partitions: 9}
	leaving := client.Member{Name: "n1", Status: "leaving"}
	n2 := client.Member{Name: "n2", Status: "alive", Partitions: 9}
	change := &client.Change{To: 3, WaitingFor: []string{"n2"}, BytesToMove: 2048, BytesMoved: 1024}
	n := newClusterNode(t, state(nil, n1, n2), state(change, leaving, n2), state(change, leaving, n2), state(nil, leaving, n2))
	n.busy.Store(2)
	said, err := n.depart(t.Context(), t)
	want := "waiting for another change of the ring to end\n" +
		"changing to ring version 3: 1.0 KiB of 2.0 KiB moved, waiting for n2\nn1 has left\n"
	if err != nil || said != want {
		t.Errorf("said %q, %v, want %q", said, err, want)
	}
	if asked := n.asked.Load(); asked != 4 {
		t.Errorf("asked %d times", asked)
	}
}

// When the node's process has ended, another member knows whether the node has
// left or only stopped.
func TestLeaveAsksTheOthers(t *testing.T) {
	t.Parallel()
	n2 := client.Member{Name: "n2", Status: "alive", Partitions: 9}
	for name, test := range map[string]struct {
		seen client.Cluster // by the other member
		want string         // in the error, "" for none
	}{
		"left":                  {state(nil, n2), ""},
		"still a member":        {state(nil, n2, client.Member{Name: "n1", Status: "down", Partitions: 9}), "does not answer"},
		"died while it left":    {state(&client.Change{To: 3}, n2), "does not answer"},
		"left, not yet unheard": {state(nil, n2, client.Member{Name: "n1", Status: "down"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := newClusterNode(t, test.seen)
			n2 := n2
			n2.HTTP = other.addr()
			n := newClusterNode(t, state(nil, client.Member{Name: "n1", Status: "alive", Partitions: 9}, n2))
			serve := n.srv.Config.Handler
			n.srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.asked.Load() > 0 {
					panic(http.ErrAbortHandler)
				}
				serve.ServeHTTP(w, r)
			})
			said, err := n.depart(t.Context(), t)
			if test.want == "" && (err != nil || said != "n1 has left\n") ||
				test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("said %q, %v", said, err)
			}
		})
	}
}

// Whoever interrupts the command is told that the node goes on.
func TestLeaveInterrupted(t *testing.T) {
	t.Parallel()
	n := newClusterNode(t, state(nil, client.Member{Name: "n1", Status: "alive", Partitions: 9}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for n.asked.Load() < 3 { // it has been leaving for a while
			runtime.Gosched()
		}
		cancel()
	}()
	if _, err := n.depart(ctx, t); err == nil || !strings.Contains(err.Error(), "goes on leaving") {
		t.Error(err)
	}
}

// What may lose data is done only when the member's name was typed.
func TestAsk(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]error{
		"n3\n": nil, " n3 \r\n": nil, "n3": nil, "y\n": errNotConfirmed, "": errNotConfirmed, "n\nn3\n": errNotConfirmed,
	} {
		var out bytes.Buffer
		if err := ask(strings.NewReader(typed), &out, "This may hurt.\n", "n3"); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", typed, err, want)
		}
		if !strings.HasPrefix(out.String(), "This may hurt.\n\nType \"n3\" to go on: ") {
			t.Errorf("%q", &out)
		}
	}
}
