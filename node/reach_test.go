package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// ringOf returns a ring of members with these storage identities, of which
// each partition has three.
func ringOf(t *testing.T, version uint64, storages ...uint64) *ring.Ring {
	t.Helper()
	rec := ring.Record{Version: version, Cluster: "c", Partitions: testPartitions, Replicas: 3}
	for _, s := range storages {
		rec.Members = append(rec.Members, ring.Member{Name: fmt.Sprintf("s%d", s), Storage: s, Weight: 1})
	}
	r, err := ring.New(rec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// While the ring changes a write needs enough replicas of each live version, and
// a read those of the one that is read.
func TestReachOfAChange(t *testing.T) {
	t.Parallel()
	older, newer := ringOf(t, 1, 1, 2, 3), ringOf(t, 2, 3, 4, 5) // they have one in common
	s := &topology.State{Ring: newer, Read: older, Live: []*ring.Ring{older, newer}}
	to, err := reachOf(s, 0, 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if len(to.members) != 5 || to.self < 0 || to.members[to.self].Storage != 4 || to.n != 3 {
		t.Fatalf("%+v", to)
	}
	yes := func(storages ...uint64) (m quorum.Mask) {
		for at, member := range to.members {
			for _, s := range storages {
				if member.Storage == s {
					m = m.With(at)
				}
			}
		}
		return m
	}
	for _, c := range []struct {
		holders []uint64
		enough  bool
	}{
		{[]uint64{1, 2, 3}, false}, // of the newer one only one
		{[]uint64{3, 4, 5}, false}, // of the older one only one
		{[]uint64{1, 4, 5}, false},
		{[]uint64{1, 3, 4}, true},
		{[]uint64{1, 2, 4, 5}, true},
	} {
		if got := to.write.Reached(yes(c.holders...)); got != c.enough {
			t.Errorf("a write that %v hold counts as acknowledged: %t", c.holders, got)
		}
	}
	if to.read.Of != yes(1, 2, 3) || to.read.Need != 2 {
		t.Errorf("a read asks %b, and needs %d", to.read.Of, to.read.Need)
	}
	if _, err := reachOf(s, 0, 4, 4); !errors.Is(err, kv.ErrBadNeed) {
		t.Errorf("four of three: %v", err)
	}
}

// A node that came back with another store is not the member of its name.
func TestMemberIsItsStore(t *testing.T) {
	t.Parallel()
	p := newPeers(peer.ClientConfig{}, nil, func() {})
	p.follow([]membership.Node{{Name: "n2", Status: membership.Alive, Facts: membership.Facts{Peer: "127.0.0.1:1", Boot: 2, Storage: 7}}})
	defer p.follow(nil)
	if _, err := p.to(&ring.Member{Name: "n2", Storage: 7}); err != nil {
		t.Errorf("the same store: %v", err)
	}
	if _, err := p.to(&ring.Member{Name: "n2", Storage: 6}); !errors.Is(err, peer.ErrNotSent) {
		t.Errorf("another store: %v, want ErrNotSent", err)
	}
}
