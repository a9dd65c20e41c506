package node

import (
	"context"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// stuck is a store that does not say what it holds until it is let go.
type stuck struct {
	*kv.Memory
	free chan struct{}
}

func (s *stuck) Stats(now int64) kv.Stats {
	<-s.free
	return s.Memory.Stats(now)
}

// A node whose own store hangs still tells of the others.
func TestStatusWhileTheOwnStoreHangs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	store := &stuck{newLasting(t).Memory, make(chan struct{})}
	defer close(store.free)
	n := c.startOver("n2", store)
	c.awaitRing(2)
	for i := range 20 {
		c.put(n, c.keyOf("n1", "k", i), "v")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range st.Members {
		if m.Name == "n1" && m.Keys != 20 {
			t.Errorf("n1 holds %d keys by the status, want 20", m.Keys)
		}
	}
}
