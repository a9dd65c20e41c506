package nodetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// A node is forgotten while what it has sent is still under way, and arrives
// afterwards, at one replica: it must not be acknowledged, for the replicas are
// others by then.
func TestForgottenWritesNothing(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: []string{"n1", "n2", "n3", "n4"}, Detect: 300 * time.Millisecond, Timeout: 10 * time.Second})
		c.Pass(6 * time.Second) // it trusts what it holds
		var group sync.WaitGroup
		c.Partition([]string{"n4"}, three)
		for i := range 60 {
			key := fmt.Sprint("late", i)
			if r := c.Node("n4").Ring(); r.Members()[r.Owner([]byte(key))].Name != "n4" {
				continue
			}
			c.Ledger().note(key, "v", Unknown)
			group.Go(func() {
				if c.Put("n4", key, "v", "") == nil {
					c.Ledger().note(key, "v", Present)
				}
			})
		}
		c.Pass(500 * time.Millisecond)
		must(t, c.Forget(t.Context(), "n1", "n4", false))
		goOnWithout(c, "n4")
		c.Network().Cut("n4", "n1", Open)
		c.Network().Cut("n1", "n4", Open)
		group.Wait()
		c.Kill("n1") // what is acknowledged has to be held by another of the three
		must(t, c.CheckSet())
		if n := len(c.Ledger().Keys(Unknown)); n < 5 {
			t.Errorf("only %d writes were tried and not acknowledged", n)
		}
	})
}

// goOnWithout waits until the others have settled, and a node does not know.
func goOnWithout(c *Cluster, name string) {
	c.Await("the others to go on", func() error {
		for _, other := range three {
			if c.Node(other).Upkeep().Changing || c.Node(other).Ring().Version() == c.Node(name).Ring().Version() {
				return errors.New("not yet")
			}
		}
		return nil
	})
}

// A node that was forgotten is back, and does not know it yet. It meets a
// replica that has missed a write, as it has itself: it must not return what they
// hold, for the replicas are others by now.
func TestForgottenReadsNothing(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: []string{"n1", "n2", "n3", "n4"}, Detect: 300 * time.Millisecond})
		var keys []string
		for i := range 100 {
			key := fmt.Sprint("old", i)
			must(t, c.Put("n2", key, "v", "all"))
			r := c.Node("n4").Ring()
			replicas := r.Replicas(r.Partition([]byte(key)))
			if slices.Contains(replicas, r.Index("n1")) && slices.Contains(replicas, r.Index("n4")) && len(keys) < 20 {
				keys = append(keys, key)
			}
		}
		c.Partition([]string{"n4"}, three)
		c.Pass(500 * time.Millisecond)
		must(t, c.Forget(t.Context(), "n1", "n4", false))
		goOnWithout(c, "n4")
		c.FailStore("n1", kv.ErrFull)
		for _, key := range keys {
			must(t, c.Put("n2", key, "w", ""))
		}
		c.Network().Cut("n4", "n1", Open)
		c.Network().Cut("n1", "n4", Open)
		var group sync.WaitGroup
		for range 120 {
			for _, key := range keys {
				group.Go(func() {
					if got, err := c.Get("n4", key, ""); err == nil && got != "w" {
						t.Errorf("%q is %q", key, got)
					}
				})
			}
			c.Pass(2 * time.Millisecond)
		}
		group.Wait()
	})
}
