package node

import (
	"context"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// forgetful is a store that cannot list, and counts how often it forgot.
type forgetful struct {
	kv.Store
	kv.Metadata
	forgot int
}

func (f *forgetful) Forget(context.Context) error {
	f.forgot++
	return nil
}

// What a cache holds of a partition that was away is not served when it is back.
func TestOutdatedIsForgottenWhenItReturns(t *testing.T) {
	t.Parallel()
	m, err := kv.NewMemory(kv.MemoryOptions{Partitions: testPartitions})
	if err != nil {
		t.Fatal(err)
	}
	store := &forgetful{Store: m, Metadata: m}
	for _, step := range []struct {
		leave, gain []int
		forgot      int
	}{
		{gain: []int{1, 2}, forgot: 0},
		{leave: []int{2, 5}, forgot: 0},
		{gain: []int{1, 3}, forgot: 0},
		{gain: []int{5}, forgot: 1},
		{gain: []int{2}, forgot: 1}, // it is gone with the rest
	} {
		if err := leaveOutdated(t.Context(), store, step.leave); err != nil {
			t.Fatal(err)
		}
		if err := forgetOutdated(t.Context(), store, step.gain); err != nil {
			t.Fatal(err)
		}
		if store.forgot != step.forgot {
			t.Fatalf("after %+v: forgot %d times", step, store.forgot)
		}
	}
}
