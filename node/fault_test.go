package node

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

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
