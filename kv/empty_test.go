package kv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// filled returns a store of 4 partitions with so many entries, and how many
// those of each partition are.
func filled(t *testing.T, n int) (store *kv.Memory, counts [4]int) {
	t.Helper()
	store, err := kv.NewMemory(kv.MemoryOptions{Partitions: len(counts)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	entries := make([]kv.Entry, n)
	for i := range entries {
		entries[i] = kv.Entry{Key: fmt.Append(nil, i), Version: kv.Version{Time: uint64(i)}, Deleted: i%3 == 0}
		counts[kv.Partition(entries[i].Key, len(counts))]++
	}
	if err := store.Apply(t.Context(), entries, nil); err != nil {
		t.Fatal(err)
	}
	return store, counts
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		partitions []int
	}{
		{"none", nil}, {"one", []int{2}}, {"some", []int{3, 0}}, {"one twice", []int{1, 1}}, {"all", []int{0, 1, 2, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store, counts := filled(t, 6000) // more of each than are purged at once
			if err := kv.Empty(t.Context(), store, test.partitions); err != nil {
				t.Fatal(err)
			}
			for _, p := range test.partitions {
				counts[p] = 0
			}
			for p, want := range counts {
				got := 0
				err := store.Scan(t.Context(), p, nil, func(*kv.Entry) bool { got++; return true })
				if err != nil || got != want {
					t.Errorf("partition %d has %d entries, %v, want %d", p, got, err, want)
				}
			}
		})
	}
}

// writing is a store that is written to while it is purged, for a while.
type writing struct {
	*kv.Memory
	mu    sync.Mutex // guards times
	times int
}

func (s *writing) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	s.mu.Lock()
	s.times--
	again := s.times >= 0
	s.mu.Unlock()
	if again {
		e := kv.Entry{Key: refs[0].Key, Version: kv.Version{Time: refs[0].Version.Time + 1}}
		if err := s.Apply(ctx, []kv.Entry{e}, nil); err != nil {
			return err
		}
	}
	return s.Memory.Purge(ctx, refs, purged)
}

// TestEmptyDuringWrites: what is written anew while it is to be purged goes in
// another round.
func TestEmptyDuringWrites(t *testing.T) {
	t.Parallel()
	m, _ := filled(t, 10)
	if err := kv.EmptyAll(t.Context(), &writing{Memory: m, times: 20}, 4); err != nil {
		t.Fatal(err)
	}
	if st := m.Stats(0); st.Entries != 0 {
		t.Errorf("%+v is left", st)
	}
}

// failing is a store that cannot purge.
type failing struct {
	*kv.Memory
	err error
}

func (s failing) Purge(context.Context, []kv.Ref, []bool) error { return s.err }

// forgetful is a store that cannot list its entries, and forgets them all.
type forgetful struct {
	kv.Store
	forgot bool
}

func (s *forgetful) Forget(context.Context) error {
	s.forgot = true
	return nil
}

func TestEmptyErrors(t *testing.T) {
	t.Parallel()
	m, _ := filled(t, 3000)
	type bare struct{ kv.Store }
	for _, err := range []error{kv.Empty(t.Context(), bare{m}, []int{0}), kv.EmptyAll(t.Context(), bare{m}, 4)} {
		if !errors.Is(err, kv.ErrNoScan) {
			t.Errorf("of a store that cannot list: %v", err)
		}
	}
	if err := kv.EmptyAll(t.Context(), failing{m, kv.ErrUnavailable}, 4); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("of a store that cannot purge: %v", err)
	}
	if err := kv.Empty(t.Context(), m, []int{4}); err == nil {
		t.Error("a partition that is none is emptied")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := kv.EmptyAll(cancelled, m, 4); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if st := m.Stats(0); st.Entries != 3000 {
		t.Errorf("%+v is left, though nothing was purged", st)
	}
}

func TestEmptyAllForgets(t *testing.T) {
	t.Parallel()
	m, _ := filled(t, 10)
	store := &forgetful{Store: m}
	if err := kv.EmptyAll(t.Context(), store, 4); err != nil || !store.forgot {
		t.Errorf("EmptyAll: %v, and it forgot: %v", err, store.forgot)
	}
	if err := kv.Empty(t.Context(), store, []int{0, 1, 2, 3}); !errors.Is(err, kv.ErrNoScan) {
		t.Errorf("Empty of partitions that it cannot list: %v", err)
	}
}
