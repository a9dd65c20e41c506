package node

import (
	"errors"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
)

// mortal is a store that is lost when a test says so.
type mortal struct {
	*kv.Memory
	lost chan struct{}
}

func (m *mortal) Lost() <-chan struct{} { return m.lost }

// A node whose store is lost ends: it is not any more who the ring takes it for.
func TestRunEndsWhereTheStoreIsLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	store := &mortal{newLasting(t).Memory, make(chan struct{})}
	s := &spot{c: c, up: true, facts: membership.Facts{Peer: l.Addr().String()}}
	n, err := New(t.Context(), Config{Name: "n1", Founder: true, Partitions: testPartitions, Wall: c.now}, store, s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	s.Node = n
	ended := make(chan error, 1)
	go func() { ended <- n.Run(t.Context(), l) }()
	close(store.lost)
	if err := <-ended; !errors.Is(err, ErrLostStore) {
		t.Errorf("Run over a store that is lost: %v", err)
	}
}
