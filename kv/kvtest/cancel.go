package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// A call whose context has ended may do all it should, or return an error that
// blames neither the key nor the store. The store works on afterwards.

// misblames reports whether err is not one that an ended context explains.
func misblames(err error) bool {
	for _, other := range []error{kv.ErrNotFound, kv.ErrFull, kv.ErrTooLarge, kv.ErrClosed, kv.ErrCorrupt} {
		if errors.Is(err, other) {
			return true
		}
	}
	return false
}

// testCancelled calls every method with a context that has ended.
func (s *suite) testCancelled(t *testing.T) {
	store := s.opened(t)
	before := write(key(1), 1)
	apply(t, store, before)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	e, err := store.Get(ctx, key(1), nil)
	if misblames(err) || err == nil && !same(&e, &before) {
		t.Errorf("Get = %s, %v", describe(&e), err)
	}
	expect(t, store, &before)
	for _, n := range []int{1, 100} {
		var batch []kv.Entry
		for i := range n {
			batch = append(batch, write(key(i+2), n))
		}
		done := make([]kv.Applied, n)
		err := store.Apply(ctx, batch, done)
		if misblames(err) {
			t.Errorf("Apply: %v", err)
		}
		checkDone(t, store, batch, done, err)
		applyAll(t, store, batch) // what was not done can be done now
		for i := range batch {
			expect(t, store, &batch[i])
		}
	}
	expect(t, store, &before)
	cancelledAbilities(ctx, t, store)
	expect(t, store, &before)
}

// cancelledAbilities does the same for the methods that a store need not have.
// It holds the first write of the key numbered 1.
func cancelledAbilities(ctx context.Context, t *testing.T, store kv.Store) {
	t.Helper()
	if getter, ok := store.(kv.BatchGetter); ok {
		found, errs := getBatch(ctx, getter, [][]byte{key(1), key(1)})
		want := write(key(1), 1)
		for i, err := range errs {
			if misblames(err) || errors.Is(err, errStale) || err == nil && !same(&found[i], &want) {
				t.Errorf("GetBatch = %s, %v", describe(&found[i]), err)
			}
		}
		checkBatch(t, getter, [][]byte{key(1)}, model{string(key(1)): want})
	}
	if purger, ok := store.(kv.Purger); ok {
		cancelledPurge(ctx, t, store, purger)
	}
	if expirer, ok := store.(kv.Expirer); ok {
		if _, err := expirer.Expire(ctx, start, 100); misblames(err) {
			t.Errorf("Expire: %v", err)
		}
	}
	meta, ok := store.(kv.Metadata)
	if !ok {
		return
	}
	save(t, meta, "fact", []byte("before"))
	if data, err := meta.LoadMeta(ctx, "fact"); misblames(err) || err == nil && string(data) != "before" {
		t.Errorf("LoadMeta = %q, %v", data, err)
	}
	err := meta.SaveMeta(ctx, "fact", []byte("after"))
	data, lerr := meta.LoadMeta(context.Background(), "fact")
	if misblames(err) || lerr != nil || string(data) != "after" && (err == nil || string(data) != "before") {
		t.Errorf("SaveMeta: %v, and then LoadMeta = %q, %v", err, data, lerr)
	}
}

// cancelledPurge purges many keys with a context that has ended. What purged says
// is gone must be.
func cancelledPurge(ctx context.Context, t *testing.T, store kv.Store, purger kv.Purger) {
	t.Helper()
	entries, refs := make([]kv.Entry, 100), make([]kv.Ref, 100)
	for i := range entries {
		entries[i] = write(key(1000+i), 1)
		refs[i] = refOf(&entries[i])
	}
	applyAll(t, store, entries)
	purged := make([]bool, len(refs))
	err := purger.Purge(ctx, refs, purged)
	if misblames(err) {
		t.Errorf("Purge: %v", err)
	}
	for i := range refs {
		_, gerr := store.Get(context.Background(), refs[i].Key, nil)
		if gone := errors.Is(gerr, kv.ErrNotFound); purged[i] && !gone || err == nil && !purged[i] {
			t.Fatalf("purged[%d] is %v after %v, and then Get: %v", i, purged[i], err, gerr)
		}
	}
	purge(t, store, refs...) // what was not done can be done now
	for i := range refs {
		expectNone(t, store, refs[i].Key)
	}
}

// checkDone checks that what Apply says is held of some keys is there, after
// any error, and that all is held where there was none. The batch has each key
// once.
func checkDone(t tester, store kv.Store, batch []kv.Entry, done []kv.Applied, err error) {
	t.Helper()
	for i := range done {
		v := done[i].Held
		switch {
		case v.IsZero() && !done[i].Was.IsZero():
			t.Fatalf("done[%d] is %v after %v", i, done[i], err)
		case !v.IsZero():
			if e := get(t, store, batch[i].Key); e.Version.Compare(v) < 0 || e.Version == batch[i].Version && !same(&e, &batch[i]) {
				t.Fatalf("done[%d].Held was %v after %v, but there is %s", i, v, err, describe(&e))
			}
		case err == nil:
			t.Fatalf("done[%d] is zero, and Apply returned nil", i)
		}
	}
}

// testCancelledMidway ends contexts while calls are under way. What was
// acknowledged stays, and no later call is answered with what another asked.
func (s *suite) testCancelledMidway(t *testing.T) {
	store := s.opened(t)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			if err := cancelOften(store, [2][]byte{key(w), key(w + 100)}, s.effort(300, 100)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// cancelOften writes and reads two keys so many times, for random moments each.
func cancelOften(store kv.Store, keys [2][]byte, times int) error {
	rnd := rand.New(rand.NewPCG(1, uint64(len(keys[0]))))
	var acknowledged [2]int
	first := []kv.Entry{write(keys[0], 0), write(keys[1], 0)}
	if err := store.Apply(context.Background(), first, nil); err != nil {
		return err
	}
	for n := 1; n <= times; n++ {
		k, moment := rnd.IntN(2), time.Duration(rnd.IntN(1<<rnd.IntN(9)))*time.Microsecond
		ctx, cancel := context.WithTimeout(context.Background(), moment)
		var err error
		if rnd.IntN(2) == 0 {
			if err = store.Apply(ctx, []kv.Entry{write(keys[k], n)}, nil); err == nil {
				acknowledged[k] = n
			}
		} else {
			err = readSince(ctx, store, keys[k], acknowledged[k])
		}
		cancel()
		if misblames(err) || errors.Is(err, errMisread) {
			return err
		}
		for _, k := range []int{1 - k, k} { // what answers the one must not reach the other
			if err := readSince(context.Background(), store, keys[k], acknowledged[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

var errMisread = errors.New("misread")

// readSince reads k. Its error is Get's, or errMisread where the entry is none
// that was written, or older than the write of a number.
func readSince(ctx context.Context, store kv.Store, k []byte, number int) error {
	e, err := store.Get(ctx, k, nil)
	if err == nil && (e.Version.Compare(at(number)) < 0 || !written(&e)) {
		return fmt.Errorf("%w: %s, after write %d", errMisread, describe(&e), number)
	}
	return err
}
