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

func (s *counting) Apply(ctx context.Context, entries []kv.Entry, held []kv.Version) error {
	s.calls.Add(1)
	return s.Memory.Apply(ctx, entries, held)
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
// share and however they are run together.
func TestBatchIsItsOperationsInOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0)
	plain, batched := newLasting(t), newCounting(t)
	one := c.startOver("n1", plain)
	c.awaitRing(1)
	other := newCluster(t, 0)
	many := other.startOver("n1", batched)
	other.awaitRing(1)
	round := 0
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
