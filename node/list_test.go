package node

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// listAll lists everything, asking another node for each page. It fails the
// test where a key comes twice.
func (c *cluster) listAll(first, prefix string) map[string]string {
	c.t.Helper()
	nodes := c.nodes()
	out := map[string]string{}
	req := ListRequest{Prefix: []byte(prefix), Limit: 37, Values: true}
	for n, i := c.node(first), 0; ; i++ {
		page, err := n.List(c.t.Context(), req)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range page.Entries {
			if _, twice := out[string(e.Key)]; twice {
				c.t.Fatalf("key %q is listed twice", e.Key)
			}
			if e.Size != len(e.Value) {
				c.t.Fatalf("key %q: size %d of %q", e.Key, e.Size, e.Value)
			}
			out[string(e.Key)] = string(e.Value)
		}
		if page.Complete {
			return out
		}
		if len(page.Entries) > req.Limit {
			c.t.Fatalf("a page of %d keys, limit %d", len(page.Entries), req.Limit)
		}
		req.Cursor, n = page.Cursor, nodes[i%len(nodes)]
	}
}

func TestListHasEachKeyOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var ops []kv.Op
	for i := range 2000 {
		key := fmt.Sprintf("%c/%d", 'a'+i%4, i)
		ops = append(ops, kv.Op{Verb: kv.Put, Key: []byte(key), Value: []byte(strconv.Itoa(i))})
	}
	for _, r := range c.node("n1").DoAll(t.Context(), ops) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for prefix, want := range map[string]int{"": 2000, "b/": 500, "b/1": 128, "none": 0} {
		listed := c.listAll("n2", prefix)
		if want == 128 {
			want = 0
			for _, op := range ops {
				if string(op.Key[:3]) == prefix {
					want++
				}
			}
		}
		if len(listed) != want {
			t.Errorf("prefix %q: %d keys, want %d", prefix, len(listed), want)
		}
	}
	if got := c.listAll("n3", "")["a/400"]; got != "400" {
		t.Errorf("value %q, want 400", got)
	}
}

func TestListNeverLeavesAMemberOutSilently(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.kill("n2")
	if _, err := c.node("n1").List(t.Context(), ListRequest{Limit: 10}); !errors.Is(err, peer.ErrUnavailable) {
		t.Errorf("list without n2: %v", err)
	}
}

func TestBadCursor(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for _, cursor := range []string{"!", "_w", "gICAgAE"} {
		_, err := c.node("n1").List(t.Context(), ListRequest{Limit: 1, Cursor: cursor})
		if !errors.Is(err, ErrBadCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func TestSnapshotIsWhatThisNodeHolds(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	mine, other := c.keyOf("n1", "k", 0), c.keyOf("n2", "k", 0)
	c.put(c.node("n1"), mine, "v")
	c.put(c.node("n1"), other, "v")
	var got []string
	if err := c.node("n1").Snapshot(t.Context(), func(e *kv.Entry) bool {
		got = append(got, string(e.Key))
		return true
	}); err != nil || len(got) != 1 || got[0] != mine {
		t.Errorf("snapshot of n1: %q, %v; want %q", got, err, mine)
	}
}
