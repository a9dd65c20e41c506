package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// lasting is a store that outlives its node, and counts what is asked of it.
type lasting struct {
	*kv.Memory
}

func newLasting(t *testing.T) *lasting {
	t.Helper()
	m, err := kv.NewMemory(kv.MemoryOptions{Partitions: testPartitions})
	if err != nil {
		t.Fatal(err)
	}
	return &lasting{m}
}

func (*lasting) Durable() bool { return true }

// A cluster whose nodes all stop and start again over what they kept is the
// same cluster, with all its keys, and its nodes stamp as they did.
func TestRestartOverTheSameStores(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	stores := map[string]*lasting{}
	for _, name := range []string{"n1", "n2", "n3"} {
		stores[name] = newLasting(t)
		c.startOver(name, stores[name])
		c.awaitRing(len(stores))
		for i := range 20 { // some are written before they move
			c.put(c.node(name), strings.Repeat(name, i+1), "v")
		}
	}
	before := c.put(c.node("n1"), "k", "v")
	if before.Receipt.Durable != 1 {
		t.Errorf("receipt %+v of a write on a durable store", before.Receipt)
	}
	ring := c.node("n2").Ring().Record()
	c.stopAll()
	for _, name := range []string{"n2", "n3", "n1"} {
		c.startOver(name, stores[name])
	}
	c.awaitRing(3)
	if now := c.node("n2").Ring().Record(); now.Cluster != ring.Cluster || now.Version != ring.Version {
		t.Errorf("ring %d of %s, before it was %d of %s", now.Version, now.Cluster, ring.Version, ring.Cluster)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		for i := range 20 {
			c.want(strings.Repeat(name, i+1), "v")
		}
	}
	after := c.put(c.node("n1"), "k", "w")
	if v, w := before.Entry.Version, after.Entry.Version; w.Node != v.Node || w.Compare(v) <= 0 {
		t.Errorf("stamps %v, then %v", v, w)
	}
}

// With another node's entries a node would serve what that one has long
// replaced.
func TestStoreOfAnotherNodeIsRefused(t *testing.T) {
	t.Parallel()
	store := newLasting(t)
	c := newCluster(t, 0)
	c.startOver("n1", store)
	c.stopAll()
	_, err := New(t.Context(), Config{Name: "n2"}, store, nil, hclog.NewNullLogger())
	if !errors.Is(err, ErrForeignStore) || !strings.Contains(err.Error(), `"n1"`) {
		t.Errorf("New over the store of n1: %v", err)
	}
	if err := store.SaveMeta(t.Context(), identityName, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Config{Name: "n1"}, store, nil, hclog.NewNullLogger()); !errors.Is(err, kv.ErrCorrupt) {
		t.Errorf("New over a store that garbles its identity: %v", err)
	}
}
