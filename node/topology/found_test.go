package topology

import (
	"strings"
	"testing"
	"time"
)

// founded starts nodes of which the first founds a cluster, and waits until
// they are one.
func (w *world) founded(names ...string) {
	w.t.Helper()
	w.start(names[0], true)
	w.await(1, names[0])
	for _, name := range names[1:] {
		w.start(name, false)
	}
	w.await(len(names), names...)
}

func TestFounderHoldsEverything(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", true)
		w.await(1, "n1")
		s := k.State()
		if s.Ring.Held(s.Self) != worldPartitions || s.Cluster() == "" || s.Own() != (Numbers{1, 1, 1}) || s.Ring.Record().Replicas != 3 {
			t.Errorf("holds %d partitions of %+v, numbers %+v", s.Ring.Held(s.Self), s.Ring.Record(), s.Own())
		}
		if emptied := w.places["n1"].data.emptied; len(emptied) > 0 {
			t.Errorf("it has emptied %v", emptied)
		}
	})
}

func TestNodesThatComeTogetherAreTakenInTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3", "n4")
		for name := range w.places {
			if s := w.state(name); s.Version() != 2 {
				t.Errorf("%s is at ring %d, want 2: one change for all", name, s.Version())
			}
		}
	})
}

func TestFoundersThatStartTogetherAgree(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range []string{"n3", "n1", "n2"} {
			w.start(name, true)
		}
		w.await(3, "n1", "n2", "n3")
	})
}

func TestNobodyFoundsWhoMayNot(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", false)
		w.pass(time.Minute)
		if k.State() != nil {
			t.Error("a node that only joins has founded a cluster")
		}
	})
}

// What a node keeps of its store is made for a number of partitions.
func TestClusterWithOtherPartitionsIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		w.change = func(c *Config) { c.Partitions *= 2 }
		k := w.start("n2", false)
		err := k.Refresh(w.t.Context(), "n1")
		if err == nil || !strings.Contains(err.Error(), "16 partitions, and this node is made for 32") {
			t.Errorf("it has learned the ring: %v", err)
		}
		w.pass(20 * time.Second)
		if s := w.state("n1"); k.State() != nil || s.Version() != 1 {
			t.Errorf("it knows %+v, and the member ring %d", k.State(), s.Version())
		}
	})
}

// Stores of one cluster evict, or do not.
func TestStoreOfAnotherKindDoesNotJoin(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2")
		w.change = func(c *Config) { c.Cache = true }
		k := w.start("n3", false)
		w.pass(30 * time.Second)
		if s := k.State(); s == nil || s.Self >= 0 {
			t.Errorf("it knows %+v", s)
		}
	})
}
