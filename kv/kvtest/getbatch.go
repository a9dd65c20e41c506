package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

var errStale = errors.New("what stood in errs before")

// getBatch calls GetBatch with room in which something stands already.
func getBatch(ctx context.Context, getter kv.BatchGetter, keys [][]byte) ([]kv.Entry, []error) {
	found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
	for i := range errs {
		found[i] = write([]byte("stale"), 77)
		errs[i] = errStale
	}
	getter.GetBatch(ctx, keys, found, errs)
	return found, errs
}

// checkBatch reads keys at once, and compares what is found with want.
func checkBatch(t tester, getter kv.BatchGetter, keys [][]byte, want model) {
	t.Helper()
	found, errs := getBatch(context.Background(), getter, keys)
	check := func(i int, when string) {
		e, ok := want[string(keys[i])]
		switch {
		case !ok && !errors.Is(errs[i], kv.ErrNotFound):
			t.Fatalf("GetBatch of an unknown key %s, number %d of %d: %v, want ErrNotFound", shorten(keys[i]), i, len(keys), errs[i])
		case ok && errs[i] != nil:
			t.Fatalf("GetBatch of %s, number %d of %d: %v", shorten(keys[i]), i, len(keys), errs[i])
		case ok && (!same(&found[i], &e) || &found[i].Key[0] != &keys[i][0]):
			t.Fatalf("%s, GetBatch number %d of %d is %s, want %s", when, i, len(keys), describe(&found[i]), describe(&e))
		}
	}
	for i := range keys {
		check(i, "at once")
	}
	for i := range keys {
		check(i, "after others were overwritten")
		mine := append(found[i].Value, "appended"...)
		scribble([]kv.Entry{{Value: mine}, {Value: found[i].Value}})
	}
}

// testGetBatch reads keys of all kinds at once, over and over and in no order.
func (s *suite) testGetBatch(t *testing.T) {
	store := s.opened(t)
	getter := store.(kv.BatchGetter)
	want := model{}
	var entries []kv.Entry
	for i := range 400 {
		e := write(key(i), i)
		switch i % 5 {
		case 0:
			e = deletion(key(i), i)
		case 1:
			e.Expires = start
		case 2:
			continue
		}
		want.offer(e)
		entries = append(entries, e)
	}
	applyAll(t, store, entries)
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = key(i * i % 503)
	}
	for _, n := range []int{0, 1, 2, 9, len(keys)} {
		checkBatch(t, getter, keys[:n], want)
	}
	checkBatch(t, getter, keys, want) // not changed by what the caller did to its values
}

// testGetBatchDuringWrites: with writers about, each entry is one that somebody
// wrote, and none is older than one that was read before.
func (s *suite) testGetBatchDuringWrites(t *testing.T) {
	const keys = 20
	store := s.opened(t)
	var group sync.WaitGroup
	var reads atomic.Int64
	enough := int64(s.effort(200, 40))
	for w := range 2 {
		group.Go(func() {
			for n := 1 + w; reads.Load() < enough && !t.Failed(); n += 2 {
				batch := make([]kv.Entry, keys)
				for k := range batch {
					batch[k] = write(key(k), n)
				}
				if err := store.Apply(context.Background(), batch, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := readBatches(store.(kv.BatchGetter), keys, enough, &reads); err != nil {
		t.Error(err)
	}
	reads.Store(enough)
	group.Wait()
}

// readBatches reads so many keys, each twice, until reads are enough.
func readBatches(getter kv.BatchGetter, keys int, enough int64, reads *atomic.Int64) error {
	var batch [][]byte
	for k := range 2 * keys {
		batch = append(batch, key(k%keys))
	}
	seen := make([]kv.Version, keys)
	for ; reads.Load() < enough; reads.Add(1) {
		before := append([]kv.Version(nil), seen...)
		found, errs := getBatch(context.Background(), getter, batch)
		for i := range found {
			e, k := &found[i], i%keys
			if errors.Is(errs[i], kv.ErrNotFound) && before[k].IsZero() {
				continue // not written yet
			}
			if errs[i] != nil {
				return errs[i]
			}
			if !written(e) || e.Version.Compare(before[k]) < 0 {
				return fmt.Errorf("read %s after version %v", describe(e), before[k])
			}
			seen[k] = e.Version
		}
	}
	return nil
}

// testDurable calls Durable, which has one answer.
func (s *suite) testDurable(t *testing.T) {
	store := s.opened(t)
	before := store.(kv.Durable).Durable()
	apply(t, store, write(key(1), 1))
	if after := store.(kv.Durable).Durable(); after != before {
		t.Errorf("Durable is %v, and was %v", after, before)
	}
}
