package kvtest

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testStatsToTheSecond: Stats count an entry as live until its expiry, give or
// take what is left of that second.
func (s *suite) testStatsToTheSecond(t *testing.T) {
	store := s.opened(t)
	counter := store.(kv.Counter)
	const expires = start + 1500
	e := write(key(1), 1)
	e.Expires = expires
	late, early := write(key(2), 2), write(key(3), 3)
	late.Expires, early.Expires = math.MaxInt64, 1
	apply(t, store, e, late, early)
	for now, want := range map[int64]int64{start: 2, expires - 1000: 2, expires + 1000: 1, expires + 1e9: 1} {
		if got := counter.Stats(now).Keys; got != want {
			t.Errorf("%d ms after its expiry, %d keys are live, want %d", now-expires, got, want)
		}
	}
}

// testExpireGoesOn sweeps a store with a small budget until all that has
// expired is gone, however it is spread among what has not.
func (s *suite) testExpireGoesOn(t *testing.T) {
	const size, budget = 500, 7
	store := s.opened(t)
	var entries, want []kv.Entry
	expired := 0
	for i := range size {
		e := write(key(i), i)
		switch i % 10 {
		case 0:
		case 1:
			e.Expires = start + 1
		default:
			e.Expires, expired = start, expired+1
		}
		entries = append(entries, e)
		if e.Expires == start {
			e = tombstone(&e)
		}
		want = append(want, e)
	}
	applyAll(t, store, entries)
	for range 2 * (size/budget + 1) { // once round, and begun anywhere
		n, err := store.(kv.Expirer).Expire(context.Background(), start, budget)
		if err != nil || n > budget {
			t.Fatalf("Expire with a budget of %d = %d, %v", budget, n, err)
		}
		expired -= n
	}
	if expired != 0 {
		t.Errorf("%d expired entries were not said to become tombstones", expired)
	}
	for i := range want {
		expect(t, store, &want[i])
	}
}

// testExpireDuringWrites: a sweep does not undo a write that comes meanwhile.
func (s *suite) testExpireDuringWrites(t *testing.T) {
	store := s.opened(t)
	var group sync.WaitGroup
	var sweeps atomic.Int64 // those that found something
	done := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			n, err := store.(kv.Expirer).Expire(context.Background(), start, 5)
			if err != nil {
				t.Error(err)
				return
			}
			if n > 0 {
				sweeps.Add(1)
			}
		}
	})
	enough, most := s.effort(100, 50), s.effort(100_000, 1000)
	for n := 0; (n < enough || int(sweeps.Load()) < enough/2) && n < most && !t.Failed(); n += 2 {
		if err := replaceExpired(store, n); err != nil {
			t.Error(err)
		}
	}
	close(done)
	group.Wait()
}

// replaceExpired writes expired entries as the nth write, and then a live one
// over each.
func replaceExpired(store kv.Store, n int) error {
	expired := make([]kv.Entry, 20)
	for i := range expired {
		expired[i] = write(key(i), n)
		expired[i].Expires = start
	}
	if err := store.Apply(context.Background(), expired, nil); err != nil {
		return err
	}
	for i := range expired {
		live := write(key(i), n+1)
		if err := store.Apply(context.Background(), []kv.Entry{live}, nil); err != nil {
			return err
		}
	}
	for i := range expired {
		e, err := store.Get(context.Background(), key(i), nil)
		if err != nil {
			return err
		}
		if e.Version != at(n+1) || !written(&e) {
			return fmt.Errorf("after its write %d, got %s", n+1, describe(&e))
		}
	}
	return nil
}
