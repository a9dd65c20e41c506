package kvtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testClosed: every method answers ErrClosed after Close, Close as well.
func (s *suite) testClosed(t *testing.T) {
	store := s.open(t)
	apply(t, store, write(key(1), 1))
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for name, call := range calls(store) {
		if err := call(); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if err := store.Close(); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Close after Close: %v, want ErrClosed", err)
	}
	if getter, ok := store.(kv.BatchGetter); ok {
		keys := [][]byte{key(1), key(2), key(1)}
		_, errs := getBatch(context.Background(), getter, keys)
		for i, err := range errs {
			if !errors.Is(err, kv.ErrClosed) {
				t.Errorf("GetBatch after Close, number %d: %v, want ErrClosed", i, err)
			}
		}
	}
	if counter, ok := store.(kv.Counter); ok {
		counter.Stats(start) // has no error to return, and must not panic
	}
}

// calls returns a call of each method that the store has, but Close.
func calls(store kv.Store) map[string]func() error {
	ctx := context.Background()
	var large []kv.Entry
	for i := range 100 {
		large = append(large, write(key(i), 2))
	}
	methods := map[string]func() error{
		"Get": func() error {
			_, err := store.Get(ctx, key(1), nil)
			return err
		},
		"Apply":        func() error { return store.Apply(ctx, []kv.Entry{write(key(1), 2)}, nil) },
		"a long Apply": func() error { return store.Apply(ctx, large, make([]kv.Applied, len(large))) },
	}
	if scanner, ok := store.(kv.Scanner); ok {
		methods["Scan"] = func() error {
			return scanner.Scan(ctx, 0, nil, func(*kv.Entry) bool { return true })
		}
	}
	if purger, ok := store.(kv.Purger); ok {
		refs := make([]kv.Ref, len(large))
		for i := range large {
			refs[i] = refOf(&large[i])
		}
		methods["Purge"] = func() error { return purger.Purge(ctx, refs[:1], nil) }
		methods["a long Purge"] = func() error { return purger.Purge(ctx, refs, make([]bool, len(refs))) }
	}
	if expirer, ok := store.(kv.Expirer); ok {
		methods["Expire"] = func() error {
			_, err := expirer.Expire(ctx, start, 100)
			return err
		}
	}
	if meta, ok := store.(kv.Metadata); ok {
		methods["LoadMeta"] = func() error {
			_, err := meta.LoadMeta(ctx, "fact")
			return err
		}
		methods["SaveMeta"] = func() error { return meta.SaveMeta(ctx, "fact", []byte("2")) }
	}
	if getter, ok := store.(kv.BatchGetter); ok {
		methods["GetBatch"] = func() error { return getOfMany(ctx, getter) }
	}
	return methods
}

// getOfMany reads many keys, and returns the first error that is more than that
// there is none.
func getOfMany(ctx context.Context, getter kv.BatchGetter) error {
	keys := make([][]byte, 100)
	for i := range keys {
		keys[i] = key(i)
	}
	_, errs := getBatch(ctx, getter, keys)
	for _, err := range errs {
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
	}
	return nil
}

// testCloseUnderLoad closes a store that every method is called of, again and
// again. The calls must end, with ErrClosed and nothing else.
func (s *suite) testCloseUnderLoad(t *testing.T) {
	store := s.opened(t)
	var group sync.WaitGroup
	var busy atomic.Int64 // calls that were answered
	var closed atomic.Bool
	for name, call := range calls(store) {
		group.Go(func() {
			for {
				late := closed.Load()
				switch err := call(); {
				case !late && (err == nil || errors.Is(err, kv.ErrNotFound)):
					busy.Add(1)
				case errors.Is(err, kv.ErrClosed):
					return
				default:
					t.Errorf("%s while the store is closed, or after that (%v): %v", name, late, err)
					return
				}
			}
		})
	}
	for busy.Load() < 500 {
		if counter, ok := store.(kv.Counter); ok {
			counter.Stats(start)
		}
		expectOrNone(t, store, key(1))
	}
	if err := store.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	closed.Store(true)
	group.Wait()
}

// expectOrNone fails the test where k holds what write does not return.
func expectOrNone(t *testing.T, store kv.Store, k []byte) {
	t.Helper()
	e, err := store.Get(context.Background(), k, nil)
	if !errors.Is(err, kv.ErrNotFound) && (err != nil || !written(&e)) {
		t.Errorf("Get(%s) = %s, %v", shorten(k), describe(&e), err)
	}
}
