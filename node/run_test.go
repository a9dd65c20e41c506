package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// counting is a store that reads many keys at once, and counts its calls.
type counting struct {
	*kv.Memory
	calls atomic.Int64
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	return &counting{Memory: newLasting(t).Memory}
}

func (s *counting) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	s.calls.Add(1)
	return s.Memory.Get(ctx, key, dst)
}

func (s *counting) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	s.calls.Add(1)
	return s.Memory.Apply(ctx, entries, done)
}

func (s *counting) GetBatch(ctx context.Context, keys [][]byte, found []kv.Entry, errs []error) {
	s.calls.Add(1)
	for i, key := range keys {
		found[i], errs[i] = s.Memory.Get(ctx, key, nil)
	}
}

// A store that waits for a disk or a server waits once for what comes together.
func TestBatchesWaitOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	store := newCounting(t)
	n := c.startOver("n1", store)
	c.awaitRing(1)
	ops := make([]kv.Op, 100)
	for _, verb := range []kv.Verb{kv.Put, kv.Get, kv.Delete} {
		for i := range ops {
			ops[i] = kv.Op{Verb: verb, Key: fmt.Append(nil, "key", i), Value: []byte("v")}
		}
		before := store.calls.Load()
		for i, r := range n.DoAll(t.Context(), ops) {
			if r.Err != nil {
				t.Fatalf("%s of %q: %v", verb, ops[i].Key, r.Err)
			}
		}
		if calls := store.calls.Load() - before; calls > 2 {
			t.Errorf("100 times %s took %d calls of the store", verb, calls)
		}
	}
}

// A batch does what its operations do one after the other, whatever keys they
// share and however they are run together: by a store that reads many keys at
// once or one at a time, and where keys have had another owner.
func TestBatchIsItsOperationsInOrder(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]kv.Store{"at once": newCounting(t), "one at a time": newLasting(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone, together := newCluster(t, 1), newCluster(t, 0)
			together.startOver("n1", store)
			together.awaitRing(1)
			before := make([]kv.Op, 400) // what is there already, some of which then has a new owner
			for i := range before {
				before[i] = kv.Op{Verb: kv.Put, Key: fmt.Appendf(nil, "%d-%d", i/4, 1+i%4), Value: []byte("old")}
				alone.mustDo(alone.node("n1"), &before[i])
				together.mustDo(together.node("n1"), &before[i])
			}
			together.start("n2")
			together.awaitRing(2)
			checkBatches(t, alone.node("n1"), together.node("n1"))
		})
	}
}

func checkBatches(t *testing.T, one, many *Node) {
	t.Helper()
	round := -1
	rapid.Check(t, func(t *rapid.T) {
		round++ // fresh keys
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) kv.Op { return drawOp(t, round) }), 1, 30).Draw(t, "ops")
		got := many.DoAll(context.Background(), ops)
		for i := range ops {
			want := one.Do(context.Background(), &ops[i], nil)
			if string(got[i].Entry.Value) != string(want.Entry.Value) || got[i].Existed != want.Existed && !ops[i].Blind ||
				!errors.Is(got[i].Err, want.Err) || got[i].Entry.Deleted != want.Entry.Deleted {
				t.Fatalf("operation %d, %s of %q: %+v, alone %+v", i, ops[i].Verb, ops[i].Key, got[i], want)
			}
		}
	})
}

func drawOp(t *rapid.T, round int) kv.Op {
	op := kv.Op{
		Verb:  rapid.SampledFrom([]kv.Verb{kv.Get, kv.Put, kv.Put, kv.Delete}).Draw(t, "verb"),
		Key:   fmt.Appendf(nil, "%d-%d", round, rapid.IntRange(1, 8).Draw(t, "key")),
		Value: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value"),
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		op.Blind = op.Verb == kv.Put
	case 1:
		op.If = &kv.Condition{NoneMatchAny: true}
	case 2:
		op.If = &kv.Condition{MatchAny: true, Matches: true}
	}
	return op
}
