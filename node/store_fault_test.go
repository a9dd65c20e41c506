package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// cache is a store that may forget everything at once.
type cache struct {
	*kv.Memory
	forgot atomic.Bool
}

func (*cache) Evicts() bool { return true }

func (s *cache) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	if s.forgot.Load() {
		return kv.Entry{}, kv.ErrNotFound
	}
	return s.Memory.Get(ctx, key, dst)
}

// What a cache has evicted is absent. What a former owner of its keys holds was
// replaced or deleted since, and does not come back.
func TestEvictionBringsNothingOldBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	keys := []string{}
	for i := range 100 {
		keys = append(keys, string(rune('a'+i%26))+string(rune('a'+i/26)))
		c.put(c.node("n1"), keys[i], "old")
	}
	store := &cache{Memory: newLasting(t).Memory}
	c.startOver("n2", store)
	c.awaitRing(2)
	moved := 0
	for _, key := range keys {
		r := c.put(c.node("n1"), key, "new")
		if r.Owner == "n2" {
			moved++
		}
	}
	store.forgot.Store(true)
	for _, key := range keys {
		switch value, err := c.get(c.node("n1"), key); {
		case err == nil && value != "new":
			t.Errorf("%s is %q again", key, value)
		case err != nil && !errors.Is(err, kv.ErrNotFound):
			t.Errorf("%s: %v", key, err)
		}
	}
	if moved == 0 {
		t.Error("no key moved: the test shows nothing")
	}
}

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
