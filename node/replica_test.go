package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// Every replica holds what was written through any node, and a majority of them
// goes on without the others.
func TestWritesReachEveryReplica(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 3)
	for i := range 30 {
		through := c.node(fmt.Sprintf("n%d", i%3+1))
		r := c.put(through, fmt.Sprintf("key-%d", i), "before")
		if got := r.Receipt; got.N != 3 || got.Need != 2 || got.Answered < 2 {
			t.Errorf("receipt %+v, want 3 replicas of which 2 had to and did answer", got)
		}
	}
	c.kill("n1")
	for i := range 30 {
		c.want(fmt.Sprintf("key-%d", i), "before")
		r := c.put(c.node("n2"), fmt.Sprintf("key-%d", i), "after")
		if !r.Existed || r.Receipt.Hinted != 1 {
			t.Errorf("put over what was there: existed %t, receipt %+v; want a hint for n1", r.Existed, r.Receipt)
		}
		c.want(fmt.Sprintf("key-%d", i), "after")
	}
	c.kill("n2")
	r := c.node("n3").Do(t.Context(), &kv.Op{Verb: kv.Put, Key: []byte("key-1"), Value: []byte("alone")}, nil)
	if !errors.Is(r.Err, peer.ErrUnavailable) {
		t.Errorf("put without a majority: %v, want ErrUnavailable", r.Err)
	}
	if _, err := c.get(c.node("n3"), "key-1"); !errors.Is(err, peer.ErrUnavailable) {
		t.Errorf("get without a majority: %v, want ErrUnavailable", err)
	}
	one := c.node("n3").Do(t.Context(), &kv.Op{Verb: kv.Get, Key: []byte("key-2"), Need: 1}, nil)
	if one.Err != nil || string(one.Entry.Value) != "after" {
		t.Errorf("get from one replica: %q, %v", one.Entry.Value, one.Err)
	}
}
