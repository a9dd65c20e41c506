package node

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// A former owner that is down keeps nobody from writing to its successor, and
// what it still holds never comes back over that.
func TestFormerOwnerThatIsDownBlocksNoWrite(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for i := 2; i <= 3; i++ {
		c.start("n" + strconv.Itoa(i))
		c.awaitRing(i)
	}
	c.kill("n2") // former owner of some of n3's keys
	unknown := 0
	for i := range 30 {
		key := c.keyOf("n3", "new", i)
		if _, err := c.get(c.node("n1"), key); errors.Is(err, peer.ErrUnavailable) {
			unknown++ // n2 might hold it
		}
		c.put(c.node("n1"), key, "v")
		c.want(key, "v")
		if r := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Delete, Key: []byte(key)}, nil); r.Err != nil {
			t.Errorf("delete %q: %v", key, r.Err)
		}
	}
	if unknown == 0 {
		t.Error("no key was n2's once: the test shows nothing")
	}
	var key string
	for i := 0; ; i++ {
		key = c.keyOf("n3", "never", i)
		if _, err := c.get(c.node("n1"), key); errors.Is(err, peer.ErrUnavailable) {
			break
		}
	}
	if r := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Delete, Key: []byte(key)}, nil); r.Err != nil {
		t.Fatalf("delete of a key that n2 may hold: %v", r.Err)
	}
	if _, err := c.get(c.node("n1"), key); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("after it: %v", err)
	}
	r := c.node("n1").Do(t.Context(), &kv.Op{
		Verb: kv.Put, Key: []byte(c.keyOf("n3", "cas", 0)), If: &kv.Condition{NoneMatchAny: true},
	}, nil)
	if r.Err != nil && !errors.Is(r.Err, peer.ErrUnavailable) {
		t.Errorf("a conditional write: %v", r.Err)
	}
}

// While a change waits for a member that is down, nobody waits with it.
func TestNobodyWaitsForTheDead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	held := c.node("n3").keeper.Acquire() // it cannot acknowledge a change
	c.start("n4")
	c.await(func() bool {
		s := c.node("n4").keeper.State()
		return s != nil && s.Self >= 0
	})
	st, err := c.node("n1").Status(t.Context())
	if err != nil || st.Change == nil {
		t.Fatalf("status: %+v, %v", st, err)
	}
	c.await(func() bool { // the joiner has acknowledged before long
		st, err = c.node("n1").Status(t.Context())
		return err == nil && st.Change != nil && len(st.Change.WaitingFor) == 1 && st.Change.WaitingFor[0] == "n3"
	})
	c.killHolding("n3", held.Release)
	refused := 0
	for i := range 200 {
		key := strconv.Itoa(i)
		r := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Get, Key: []byte(key)}, nil)
		if errors.Is(r.Err, context.DeadlineExceeded) {
			t.Fatalf("key %s, owned by %s: %v", key, r.Owner, r.Err)
		}
		if r.Owner != "n3" && errors.Is(r.Err, peer.ErrUnavailable) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nothing moved to a member that is up: the test shows nothing")
	}
}

func TestStatusForgetsWhoAskedAndHungUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for i := range 100 {
		c.put(c.node("n1"), strconv.Itoa(i), "v")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second answer is the first one's
		st, err := c.node("n1").Status(gone)
		if err != nil {
			t.Fatal(err)
		}
		var keys int64
		for _, m := range st.Members {
			keys += m.Keys
		}
		if keys != 100 {
			t.Fatalf("%d keys, want 100", keys)
		}
	}
}

func TestExpiredIsNotDeleted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	n := c.node("n1")
	key := []byte("k")
	c.mustDo(n, &kv.Op{Verb: kv.Put, Key: key, Expires: n.clock.Now() + 1000})
	c.advance(2_000_000_000) // 2 s
	if swept, err := n.store.(kv.Expirer).Expire(t.Context(), n.clock.Now(), 10); err != nil || swept > 1 {
		t.Fatalf("swept %d, %v", swept, err)
	}
	r := n.Do(t.Context(), &kv.Op{Verb: kv.Get, Key: key}, nil)
	if !errors.Is(r.Err, kv.ErrNotFound) || r.Entry.Deleted {
		t.Errorf("after the sweep: %+v, %v", r.Entry, r.Err)
	}
	x, err := n.Explain(t.Context(), key)
	if err != nil || x.Replicas[0].State != "expired" {
		t.Errorf("explained as %+v, %v", x, err)
	}
	r = n.Do(t.Context(), &kv.Op{Verb: kv.Put, Key: key, If: &kv.Condition{MatchAny: true}}, nil)
	if !errors.Is(r.Err, kv.ErrPrecondition) || !r.Entry.Version.IsZero() {
		t.Errorf("a condition on it: %+v, %v", r.Entry, r.Err)
	}
}

func TestSnapshotLeavesOutWhatMovedAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for i := range 50 {
		c.put(c.node("n1"), strconv.Itoa(i), "v")
	}
	c.start("n2")
	c.awaitRing(2)
	key := c.keyOf("n2", "", 0)
	c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Delete, Key: []byte(key)})
	for _, n := range c.nodes() {
		if err := n.Snapshot(t.Context(), func(e *kv.Entry) bool {
			if string(e.Key) == key {
				t.Errorf("the deleted key is in the snapshot of %s", n.Name())
			}
			return true
		}); err != nil {
			t.Error(err)
		}
	}
}
