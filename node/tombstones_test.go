package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// forget deletes a key, and has its tombstone dropped everywhere. It returns the
// entry that was deleted.
func (c *cluster) forget(key string) kv.Entry {
	c.t.Helper()
	was := c.put(c.nodes()[0], key, "old").Entry
	was.Key, was.Value = []byte(key), []byte("old")
	c.mustDo(c.nodes()[0], &kv.Op{Verb: kv.Delete, Key: []byte(key)})
	c.advance(defaultGrace + time.Minute)
	c.await(func() bool {
		dropped := true
		for _, n := range c.nodes() {
			if err := n.dropTombstones(c.t.Context()); err != nil {
				c.t.Fatal(err)
			}
		}
		for _, n := range c.nodes() {
			_, err := n.store.Get(c.t.Context(), []byte(key), nil)
			dropped = dropped && errors.Is(err, kv.ErrNotFound)
		}
		return dropped
	})
	return was
}

// give has a node apply an entry for a coordinator, as if it had been on its way
// for long.
func (c *cluster) give(n *Node, e kv.Entry) error {
	ops, results := []kv.Op{applyOf(&e, 0)}, make([]kv.Result, 1)
	n.share.apply(c.t.Context(), n.keeper.State().Version(), ops, results)
	return results[0].Err
}

// besides returns a key in the partition of another one.
func (c *cluster) besides(other, prefix string) []byte {
	r := c.nodes()[0].Ring()
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "%s%d", prefix, i); r.Partition(key) == r.Partition([]byte(other)) {
			return key
		}
	}
}

// What was deleted does not come back once that is forgotten, however late a
// message with it is; what cannot bring it back is taken.
func TestLateEntryIsRefused(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 3)
	c.put(c.node("n1"), "gone", "oldest")
	oldest := c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Delete, Key: []byte("gone"), Need: kv.All}).Entry
	oldest.Key = []byte("gone")
	late := c.forget("gone")
	known := c.besides("gone", "known")
	kept := c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Put, Key: known, Value: []byte("v"), Need: kv.All}).Entry
	kept.Key, kept.Value = known, []byte("older")
	kept.Version.Time = late.Version.Time
	expired, lately := late, late
	expired.Key, expired.Expires = c.besides("gone", "expired"), 1
	lately.Key, lately.Expires = c.besides("gone", "lately"), c.now().Add(-time.Minute).UnixMilli()
	for _, n := range c.nodes() {
		refuses := func(e kv.Entry) {
			t.Helper()
			if err := c.give(n, e); !errors.Is(err, kv.ErrConflict) {
				t.Errorf("%s takes %q: %v", n.Name(), e.Key, err)
			}
		}
		refuses(late)
		refuses(lately) // by a clock that is only a little ahead
		for name, e := range map[string]kv.Entry{"of a known key": kept, "a tombstone": oldest, "expired": expired} {
			if err := c.give(n, e); err != nil {
				t.Errorf("%s refuses an old entry, %s: %v", n.Name(), name, err)
			}
		}
		refuses(late) // the key is known now, as deleted before
	}
	for _, n := range c.nodes() {
		if _, err := c.get(n, "gone"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("through %s: %v", n.Name(), err)
		}
	}
	c.put(c.node("n2"), "gone", "new")
	c.want("gone", "new")
}

// A store that was behind a horizon is behind it in its next life, and who joins
// is, too.
func TestHorizonLasts(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 2, 3)
	late := c.forget("gone")
	store := c.node("n2").store
	c.kill("n2")
	c.startOver("n2", store)
	c.start("n3")
	c.awaitRing(3)
	for _, n := range c.nodes() {
		if err := c.give(n, late); !errors.Is(err, kv.ErrConflict) {
			t.Errorf("%s takes what was deleted: %v", n.Name(), err)
		}
	}
}

// keeps reports whether n1 and n2 hold a tombstone of k, once all have dropped what
// they may.
func (c *cluster) keeps() bool {
	c.t.Helper()
	for _, n := range c.nodes() {
		if err := n.dropTombstones(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, name := range []string{"n1", "n2"} {
		if e, err := c.node(name).store.Get(c.t.Context(), []byte("k"), nil); err != nil || !e.Deleted {
			return false
		}
	}
	return true
}

// Nothing is dropped that a replica lacks, be it away or not, and nothing young.
func TestTombstonesThatAreNeededStay(t *testing.T) {
	t.Parallel()
	for name, lacks := range map[string]func(c *cluster){
		"it is young": func(c *cluster) { c.advance(-2*defaultGrace - time.Minute) },
		"one is away": func(c *cluster) { c.kill("n3") },
		"one lost it": func(c *cluster) {
			n := c.node("n3")
			e, err := n.store.Get(t.Context(), []byte("k"), nil)
			if err == nil {
				err = n.store.(kv.Purger).Purge(t.Context(), []kv.Ref{{Key: []byte("k"), Version: e.Version}}, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			n.share.trees.Forget(n.keeper.State().Ring.Partition([]byte("k")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newReplicated(t, 3, 3)
			c.put(c.node("n1"), "k", "v")
			c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Delete, Key: []byte("k"), Need: kv.All})
			if !c.keeps() {
				t.Error("a tombstone was dropped at once")
			}
			lacks(c)
			c.advance(3 * defaultGrace)
			if !c.keeps() {
				t.Error("it was dropped")
			}
		})
	}
}

// A member that is down keeps the tombstones of its partitions, and not those of
// others.
func TestOthersDoNotWaitForWhoIsDown(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 2)
	r := c.node("n1").Ring()
	theirs, its := 0, 0 // keys of partitions that n3 holds nothing of, and others
	holds := func(key []byte) bool { return r.Holds(r.Partition(key), r.Index("n3")) }
	for i := range 8 * maxDropped {
		key := fmt.Appendf(nil, "k%d", i)
		c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Put, Key: key})
		c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Delete, Key: key, Need: kv.All})
	}
	c.kill("n3")
	c.advance(defaultGrace + time.Minute)
	for _, n := range c.nodes() {
		if err := n.dropTombstones(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes() {
		for p := range testPartitions {
			err := n.store.(kv.Scanner).Scan(t.Context(), p, nil, func(e *kv.Entry) bool {
				if holds(e.Key) {
					its++
				} else {
					theirs++
				}
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if theirs > 0 || its == 0 {
		t.Errorf("%d tombstones that n3 has no part in are left, and %d that it has", theirs, its)
	}
}

// More tombstones than are dropped at once go in one pass.
func TestAllAreDropped(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 1, 1)
	n := c.node("n1")
	for i := range 3 * maxDropped {
		key := c.besides("k", fmt.Sprintf("k%d-", i))
		c.mustDo(n, &kv.Op{Verb: kv.Put, Key: key})
		c.mustDo(n, &kv.Op{Verb: kv.Delete, Key: key})
	}
	c.advance(defaultGrace + time.Minute)
	if err := n.dropTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := n.Stats().Entries; left != 0 {
		t.Errorf("%d are left", left)
	}
}

// A clock that is ahead raises no horizon at the others, and one that is behind
// the horizon keeps nobody from writing.
func TestHorizonAndClocks(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 3)
	for _, n := range c.nodes() {
		err := n.share.raiseHorizons(t.Context(), horizonRequest{
			Ring: n.keeper.State().Version(), Time: kv.Reading(c.now().UnixMilli()), Partitions: []int{1},
		})
		if !errors.Is(err, peer.ErrClock) || n.share.horizons.of(1) > 0 {
			t.Errorf("%s raises a horizon to now: %v", n.Name(), err)
		}
	}
	ahead := map[int]uint64{}
	for p := range testPartitions {
		ahead[p] = kv.Reading(c.now().Add(time.Hour).UnixMilli())
	}
	for _, n := range c.nodes() {
		n.share.horizons.raise(ahead)
	}
	for i := range 20 {
		n, key := c.nodes()[i%3], fmt.Appendf(nil, "k%d", i)
		c.mustDo(n, &kv.Op{Verb: kv.Put, Key: key})
		c.mustDo(n, &kv.Op{Verb: kv.Delete, Key: key})
		c.mustDo(n, &kv.Op{Verb: kv.Put, Key: key, If: &kv.Condition{NoneMatchAny: true}})
		c.mustDo(n, &kv.Op{Verb: kv.Put, Key: fmt.Appendf(nil, "created%d", i), If: &kv.Condition{NoneMatchAny: true}})
		blind := fmt.Sprintf("blind%d", i)
		for _, value := range []string{"first", "second"} { // no two writes may have one stamp
			c.mustDo(n, &kv.Op{Verb: kv.Put, Key: []byte(blind), Value: []byte(value), Blind: true})
		}
		if got, err := c.get(n, blind); err != nil || got != "second" {
			t.Errorf("after two blind writes of %q: %q, %v", blind, got, err)
		}
	}
	c.awaitNoPromises()
}

// An expiry is known for the grace, too, however old the entry is.
func TestExpiredAreDroppedLater(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 1, 1)
	n := c.node("n1")
	expires := c.now().Add(2 * defaultGrace)
	c.mustDo(n, &kv.Op{Verb: kv.Put, Key: []byte("k"), Value: []byte("v"), Expires: expires.UnixMilli()})
	c.advance(2*defaultGrace + time.Minute)
	if swept, err := n.store.(kv.Expirer).Expire(t.Context(), n.clock.Now(), 100); swept != 1 || err != nil {
		t.Fatalf("%d entries were swept, %v", swept, err)
	}
	for _, want := range []error{nil, kv.ErrNotFound} {
		if err := n.dropTombstones(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := n.store.Get(t.Context(), []byte("k"), nil); !errors.Is(err, want) {
			t.Errorf("it is %v: %v, want %v", c.now(), err, want)
		}
		c.advance(defaultGrace)
	}
}

// What is left of a partition that has moved away is not given to those who have
// forgotten that it was deleted, and goes.
func TestLeftoversDoNotComeBack(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 2, 1)
	key := c.keyOf("n2", "gone", 0)
	late := c.forget(key)
	n1 := c.node("n1")
	if err := n1.store.Apply(t.Context(), []kv.Entry{late}, nil); err != nil {
		t.Fatal(err)
	}
	s := n1.keeper.State()
	p := s.Ring.Partition(late.Key)
	n1.share.trees.Forget(p) // it came behind their back
	if err := n1.mover.Clean(t.Context(), s, []int{p}); err != nil {
		t.Errorf("clean: %v", err)
	}
	for _, n := range c.nodes() {
		if e, err := n.store.Get(t.Context(), late.Key, nil); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("%s holds %v, %v", n.Name(), e, err)
		}
	}
}

// What a replica has lost behind its node's back it is given again, also what is
// behind the horizon, where it cannot be told from what was deleted.
func TestLossBehindTheHorizonIsRepaired(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 3)
	var refs []kv.Ref
	for i := range 20 {
		key := fmt.Sprintf("k%d", i)
		refs = append(refs, kv.Ref{Key: []byte(key), Version: c.put(c.node("n1"), key, "v").Entry.Version})
	}
	for i := range testPartitions * 3 { // in every partition
		c.put(c.node("n1"), fmt.Sprintf("d%d", i), "v")
		c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Delete, Key: fmt.Appendf(nil, "d%d", i)})
	}
	c.forget("gone")
	n3 := c.node("n3")
	held := func() bool {
		for _, ref := range refs {
			if e, err := n3.store.Get(context.Background(), ref.Key, nil); err != nil || string(e.Value) != "v" {
				return false
			}
		}
		return true
	}
	c.await(held)
	if err := n3.store.(kv.Purger).Purge(t.Context(), refs, nil); err != nil {
		t.Fatal(err)
	}
	for p := range testPartitions {
		n3.share.trees.Forget(p)
	}
	c.await(func() bool {
		n3.mover.repairer.Poke()
		return held()
	})
}
