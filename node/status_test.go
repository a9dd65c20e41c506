package node

import (
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// Who joins tells how much it has fetched, and the others add it up.
func TestBytesOfAChange(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 2, 3)
	for i := range 200 {
		c.put(c.node("n1"), fmt.Sprintf("key%d", i), "0123456789")
	}
	c.start("n3")
	c.awaitRing(3)
	joined, holder := c.node("n3").ownStats(), c.node("n1").ownStats()
	if version := c.node("n3").keeper.State().Version(); joined.To != version || joined.Coming != 0 {
		t.Errorf("%+v, after a change to %d", joined, version)
	}
	if joined.Moved < joined.Bytes || joined.Bytes != holder.Bytes || holder.Moved > 0 {
		t.Errorf("n3 has fetched %d bytes and holds %d, n1 has fetched %d and holds %d",
			joined.Moved, joined.Bytes, holder.Moved, holder.Bytes)
	}

	n := c.node("n1")
	r := n.keeper.State().Ring
	under := &topology.State{Ring: r, Read: r, Live: []*ring.Ring{r, r}}
	change := n.change(under, n.pool.View(), map[string]Stats{
		"n1": {Bytes: 64000, To: r.Version() - 1, Coming: 99, Moved: 99}, // not for this change
		"n2": {Bytes: 64000, To: r.Version(), Moved: 100},
		"n3": {Bytes: 64000, To: r.Version(), Coming: 16, Moved: 2000},
	})
	if change.BytesMoved != 2100 || change.BytesToMove != 2100+16*1000 {
		t.Errorf("%+v; want 2100 of 18100 bytes", change)
	}
}
