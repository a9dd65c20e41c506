package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// at returns a version of some time.
func at(time uint64) kv.Version { return kv.Version{Time: time, Node: 1} }

// promisedIn returns the promises of a store, which a process has begun with.
func promisedIn(t *testing.T, meta kv.Metadata) *promises {
	t.Helper()
	p, err := loadPromises(t.Context(), meta, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPromiseRefusesWhatIsOlder(t *testing.T) {
	t.Parallel()
	p, key := promisedIn(t, nil), []byte("k")
	p.give(key, at(5))
	for time, refused := range map[uint64]bool{4: true, 5: false, 6: false} {
		if got := p.refuse(key, at(time)); got != refused {
			t.Errorf("version %d is refused: %t", time, got)
		}
	}
	if p.refuse([]byte("other"), at(1)) {
		t.Error("another key is refused")
	}
	p.keep([]kv.Entry{{Key: key}}, []kv.Applied{{Held: at(4)}})
	if !p.refuse(key, at(4)) {
		t.Error("a promise is over before anything as new is held")
	}
	p.keep([]kv.Entry{{Key: key}}, []kv.Applied{{Held: at(5)}})
	if p.refuse(key, at(4)) {
		t.Error("a promise that was kept still refuses")
	}
}

// What was promised to another writer, which may have applied something under
// it, outlives a promise on top of it that is taken back.
func TestWithdrawnPromiseUncoversTheOneBelow(t *testing.T) {
	t.Parallel()
	p, key := promisedIn(t, nil), []byte("k")
	p.give(key, at(5))
	p.give(key, at(9))
	p.withdraw(key, at(5)) // not the last
	if !p.refuse(key, at(8)) {
		t.Error("the last promise went with another's")
	}
	p.withdraw(key, at(9))
	if p.refuse(key, at(5)) || !p.refuse(key, at(4)) {
		t.Errorf("%v is promised, want what was before", p.of(key))
	}
	p.withdraw(key, at(5))
	if !p.refuse(key, at(4)) {
		t.Error("it cannot be told any more whose this was, and it is gone")
	}
	alone := []byte("alone")
	p.give(alone, at(3))
	p.withdraw(alone, at(3))
	if p.refuse(alone, at(1)) {
		t.Error("a promise that was taken back refuses")
	}
}

// A promise outlives its process, and can then only be kept.
func TestPromiseOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	store, err := kv.NewMemory(kv.MemoryOptions{Partitions: testPartitions})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("k")
	p := promisedIn(t, store)
	p.give(key, at(5))
	if err := p.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := promisedIn(t, store)
	later.withdraw(key, at(5))
	if !later.refuse(key, at(4)) {
		t.Error("a later process takes what was promised not to be taken")
	}
	if got := later.overdue(time.Now().Add(time.Second)); len(got) != 1 || string(got[0]) != "k" {
		t.Errorf("overdue: %q", got)
	}
}

// Conditional writes that come to nothing leave no promise behind, which would
// stand in the way of repairs.
func TestFailedConditionsLeaveNoPromise(t *testing.T) {
	t.Parallel()
	c := newReplicated(t, 3, 3)
	for i := range 20 {
		key := fmt.Sprintf("k%d", i)
		before := c.put(c.node("n1"), key, "v").Entry.Version
		create := kv.Op{Verb: kv.Put, Key: []byte(key), If: &kv.Condition{NoneMatchAny: true}}
		if r := c.node("n2").Do(t.Context(), &create, nil); !errors.Is(r.Err, kv.ErrPrecondition) {
			t.Fatalf("created what is there: %v", r.Err)
		}
		a := c.node("n3")
		admitted, err := a.admit(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		// Past the first look, as when another writer comes in between.
		r := a.tryIf(t.Context(), admitted.s, &create)
		admitted.release()
		if !errors.Is(r.Err, kv.ErrPrecondition) {
			t.Fatalf("created what is there: %v", r.Err)
		}
		if now := c.mustDo(c.node("n1"), &kv.Op{Verb: kv.Get, Key: []byte(key)}).Entry.Version; now != before {
			t.Errorf("%s has version %v, had %v, and nobody wrote it", key, now, before)
		}
	}
	c.awaitNoPromises()
}

// awaitNoPromises waits until no node has promised anything that it has not kept.
func (c *cluster) awaitNoPromises() {
	c.t.Helper()
	c.await(func() bool {
		for _, n := range c.nodes() {
			if len(n.share.promises.overdue(time.Now().Add(time.Hour))) > 0 {
				return false
			}
		}
		return true
	})
}
