package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

func TestAnyKeyThroughAnyNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	owners := map[string]int{}
	for i, n := range c.nodes() {
		for j := range 50 {
			key := fmt.Sprintf("%d/%d", i, j)
			r := c.put(n, key, "v"+key)
			owners[r.Owner]++
			if r.Existed || r.Receipt != (kv.Receipt{N: 1, Need: 1, Answered: 1, Ring: n.Ring().Version()}) {
				t.Fatalf("put %q: existed %v, receipt %+v", key, r.Existed, r.Receipt)
			}
			c.want(key, "v"+key)
		}
	}
	if len(owners) != 3 {
		t.Errorf("owners %v: keys of all three were meant", owners)
	}
}

func TestDeleteLeavesATombstone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	for _, owner := range []string{"n1", "n2"} {
		key := c.keyOf(owner, "k", 0)
		put := c.put(c.node("n1"), key, "v")
		del := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Delete, Key: []byte(key)}, nil)
		if del.Err != nil || !del.Existed {
			t.Fatalf("delete: existed %v, %v", del.Existed, del.Err)
		}
		got := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Get, Key: []byte(key)}, nil)
		if !errors.Is(got.Err, kv.ErrNotFound) || !got.Entry.Deleted || got.Entry.Version.Compare(put.Entry.Version) <= 0 {
			t.Errorf("after the delete: %+v, %v", got.Entry, got.Err)
		}
		if again := c.put(c.node("n2"), key, "w"); again.Existed {
			t.Error("a deleted key counts as existing")
		}
		c.want(key, "w")
	}
}

func TestDeleteOfAnAbsentKeyWritesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	n := c.node("n1")
	if r := n.Do(t.Context(), &kv.Op{Verb: kv.Delete, Key: []byte("k")}, nil); r.Err != nil || r.Existed {
		t.Fatalf("existed %v, %v", r.Existed, r.Err)
	}
	if st := n.Stats(); st.Entries != 0 {
		t.Errorf("%d entries in the store, want none", st.Entries)
	}
}

func TestConditionalPutHasOneWinner(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for i := range 20 {
		key := []byte(strconv.Itoa(i))
		var won atomic.Int32
		var wg sync.WaitGroup
		for _, n := range c.nodes() {
			for range 3 {
				wg.Go(func() {
					r := n.Do(t.Context(), &kv.Op{
						Verb: kv.Put, Key: key, Value: []byte("v"), If: &kv.Condition{NoneMatchAny: true},
					}, nil)
					switch {
					case r.Err == nil:
						won.Add(1)
					case !errors.Is(r.Err, kv.ErrPrecondition):
						t.Errorf("put %s: %v", key, r.Err)
					}
				})
			}
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("key %s was created %d times", key, won.Load())
		}
	}
}

func TestCompareAndSwapLosesNoIncrement(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	const each = 30
	c.put(c.node("n1"), "counter", "0")
	var wg sync.WaitGroup
	for _, n := range c.nodes() {
		wg.Go(func() {
			for done := 0; done < each; {
				got := n.Do(t.Context(), &kv.Op{Verb: kv.Get, Key: []byte("counter")}, nil)
				count, err := strconv.Atoi(string(got.Entry.Value))
				if got.Err != nil || err != nil {
					t.Errorf("get: %v, %v", got.Err, err)
					return
				}
				r := n.Do(t.Context(), &kv.Op{
					Verb: kv.Put, Key: []byte("counter"), Value: []byte(strconv.Itoa(count + 1)),
					If: &kv.Condition{Matches: true, Match: []kv.Version{got.Entry.Version}},
				}, nil)
				if r.Err == nil {
					done++
				} else if !errors.Is(r.Err, kv.ErrPrecondition) {
					t.Errorf("put: %v", r.Err)
					return
				}
			}
		})
	}
	wg.Wait()
	c.want("counter", strconv.Itoa(3*each))
}

func TestExpiredEntryIsAbsent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	key := []byte(c.keyOf("n2", "k", 0))
	n := c.node("n1")
	expires := c.now().Add(time.Minute).UnixMilli()
	if r := n.Do(t.Context(), &kv.Op{Verb: kv.Put, Key: key, Value: []byte("v"), Expires: expires}, nil); r.Err != nil {
		t.Fatal(r.Err)
	}
	c.want(string(key), "v")
	c.advance(time.Minute)
	r := n.Do(t.Context(), &kv.Op{Verb: kv.Get, Key: key}, nil)
	if !errors.Is(r.Err, kv.ErrNotFound) || r.Entry.Deleted {
		t.Errorf("get of an expired key: %+v, %v", r.Entry, r.Err)
	}
	page, err := n.List(t.Context(), ListRequest{Limit: 10})
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("listed %v, %v", page.Entries, err)
	}
	put := n.Do(t.Context(), &kv.Op{Verb: kv.Put, Key: key, Value: []byte("w"), If: &kv.Condition{NoneMatchAny: true}}, nil)
	if put.Err != nil || put.Existed {
		t.Errorf("put over an expired key: existed %v, %v", put.Existed, put.Err)
	}
}

func TestBatchAnswersInOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var ops []kv.Op
	for i := range 300 {
		key := []byte(strconv.Itoa(i % 100))
		switch i / 100 {
		case 0:
			ops = append(ops, kv.Op{Verb: kv.Put, Key: key, Value: append([]byte("v"), key...)})
		case 1:
			ops = append(ops, kv.Op{Verb: kv.Get, Key: key})
		case 2:
			ops = append(ops, kv.Op{Verb: kv.Delete, Key: key, If: &kv.Condition{NoneMatchAny: i%2 == 0}})
		}
	}
	for i, r := range c.node("n2").DoAll(t.Context(), ops) {
		key := strconv.Itoa(i % 100)
		switch {
		case i >= 200 && i%2 == 0:
			if !errors.Is(r.Err, kv.ErrPrecondition) {
				t.Fatalf("reply %d: %v", i, r.Err)
			}
		case r.Err != nil:
			t.Fatalf("reply %d: %v", i, r.Err)
		case i >= 100 && i < 200 && string(r.Entry.Value) != "v"+key:
			t.Fatalf("reply %d: %q", i, r.Entry.Value)
		}
	}
}

func TestNodeThatIsDownDisturbsOnlyItsKeys(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	lost, kept := c.keyOf("n3", "k", 0), c.keyOf("n2", "k", 0)
	c.put(c.node("n1"), lost, "v")
	c.put(c.node("n1"), kept, "v")
	c.kill("n3")
	c.want(kept, "v")
	for _, n := range c.nodes() {
		_, err := c.get(n, lost)
		if !errors.Is(err, peer.ErrUnavailable) || errors.Is(err, kv.ErrNotFound) {
			t.Errorf("get through %s: %v, want only ErrUnavailable", n.Name(), err)
		}
	}
	replies := c.node("n1").DoAll(t.Context(), []kv.Op{
		{Verb: kv.Put, Key: []byte(lost), Value: []byte("w")}, {Verb: kv.Put, Key: []byte(kept), Value: []byte("w")},
	})
	if !errors.Is(replies[0].Err, peer.ErrUnavailable) || replies[1].Err != nil {
		t.Errorf("batch: %v and %v", replies[0].Err, replies[1].Err)
	}
}

// While nodes join, one after another, every key stays readable through every
// node, and no write is lost.
func TestKeysStayReadableWhileNodesJoin(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	const keys = 500
	for i := range keys {
		c.put(c.node("n1"), strconv.Itoa(i), "old")
	}
	if r := c.node("n1").Do(t.Context(), &kv.Op{Verb: kv.Delete, Key: []byte("0")}, nil); r.Err != nil {
		t.Fatal(r.Err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var versions [keys]atomic.Uint64 // of the last write acknowledged
	var wg sync.WaitGroup
	for writer := range 2 {
		wg.Go(func() {
			for i := 1 + writer; ctx.Err() == nil; i = 1 + (i+2)%(keys-1) {
				key := strconv.Itoa(i)
				before := versions[i].Load()
				got, err := c.get(c.node("n1"), key)
				if err != nil {
					t.Errorf("get %s: %v", key, err)
					return
				}
				if count, _ := strconv.ParseUint(got, 10, 64); count < before {
					t.Errorf("key %s is back at %q after %d", key, got, before)
					return
				}
				if i%2 == writer { // each key has one writer
					c.put(c.node("n1"), key, strconv.FormatUint(before+1, 10))
					versions[i].Store(before + 1)
				}
			}
		})
	}
	for i := 2; i <= 4; i++ {
		c.start(fmt.Sprintf("n%d", i))
		c.awaitRing(i)
	}
	stop()
	wg.Wait()
	for i := 1; i < keys; i++ {
		value := "old"
		if v := versions[i].Load(); v > 0 {
			value = strconv.FormatUint(v, 10)
		}
		c.want(strconv.Itoa(i), value)
	}
	for _, n := range c.nodes() {
		if _, err := c.get(n, "0"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("the deleted key through %s: %v", n.Name(), err)
		}
	}
}

func TestStatusCounts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for i := range 100 {
		c.put(c.node("n1"), strconv.Itoa(100+i), "1234567")
	}
	c.await(func() bool {
		st, err := c.node("n2").Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var keys, size int64
		for _, m := range st.Members {
			keys, size = keys+m.Keys, size+m.Bytes
		}
		return len(st.Members) == 3 && keys == 100 && size == 1000 && st.Change == nil
	})
	c.kill("n3")
	st, err := c.node("n2").Status(t.Context())
	if err != nil || st.UnderReplicated != st.Members[2].Partitions || st.Members[2].Status != "down" {
		t.Errorf("status after n3 went: %+v, %v", st, err)
	}
}

func TestNotReadyBeforeARingIsKnown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	n := c.start("n2")
	if err := n.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("ready: %v", err)
	}
	if _, err := c.get(n, "k"); !errors.Is(err, ErrNotReady) {
		t.Errorf("get: %v", err)
	}
	if r := n.DoAll(t.Context(), make([]kv.Op, 2)); !errors.Is(r[1].Err, ErrNotReady) {
		t.Errorf("batch: %v", r[1].Err)
	}
	if _, err := n.List(t.Context(), ListRequest{Limit: 1}); !errors.Is(err, ErrNotReady) {
		t.Errorf("list: %v", err)
	}
	load := n.Load(t.Context(), func(int64, error) {})
	if err := load.Add(Record{Key: []byte("k")}); !errors.Is(err, ErrNotReady) {
		t.Errorf("bulk: %v", err)
	}
	if err := load.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
