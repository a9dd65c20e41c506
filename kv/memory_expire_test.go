package kv

import (
	"fmt"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestExpirePassesOver: entries of partitions in which nothing expires cost
// nothing of the budget.
func TestExpirePassesOver(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{})
	for i := range 20_000 {
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}})
	}
	put(t, m, Entry{Key: nthKey(77), Version: Version{Time: 2}, Expires: 1000})
	if n, err := m.Expire(t.Context(), 1000, 100); n != 1 || err != nil {
		t.Errorf("Expire = %d, %v, want 1", n, err)
	}
	if n, err := m.Expire(t.Context(), 1000, 100); n != 0 || err != nil {
		t.Errorf("the second Expire = %d, %v, want 0", n, err)
	}
}

// TestExpireEndsInOneRound: with nothing to do it does not go round for ever.
func TestExpireEndsInOneRound(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 3})
	for i := range 100 {
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}, Expires: 5000})
	}
	if n, err := m.Expire(t.Context(), 1000, 1<<40); n != 0 || err != nil {
		t.Errorf("Expire = %d, %v, want 0", n, err)
	}
}

// TestExpireWhileTablesGrow: growth moves the slots that the sweeper has come
// to, and nothing may be left out by that.
func TestExpireWhileTablesGrow(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 1})
	const keys = 3000
	swept := 0
	expire := func(budget int) {
		n, err := m.Expire(t.Context(), 1000, budget)
		if err != nil {
			t.Fatal(err)
		}
		swept += n
	}
	for i := range keys {
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}, Expires: 1000})
		if i%3 == 0 {
			expire(2)
		}
	}
	expire(2 * keys)
	if st := m.Stats(0); swept != keys || st.Keys != 0 {
		t.Errorf("%d of %d were swept, %d are left", swept, keys, st.Keys)
	}
}

// TestLedger holds a ledger against a list of what was entered.
func TestLedger(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.OneOf(
			rapid.Int64Range(-5000, 5000),
			rapid.Int64Range(1_700_000_000_000, 1_700_003_000_000),
			rapid.Int64Range(0, 1<<62),
		)
		expiries := rapid.SliceOfN(moment, 1, 50).Draw(t, "expiries")
		l := ledger{resident: new(atomic.Int64)}
		for i, at := range expiries {
			l.add(at, counts{1, int64(i)})
		}
		for _, now := range append(expiries, rapid.SliceOf(moment).Draw(t, "moments")...) {
			var want counts
			for i, at := range expiries {
				if second(at) > floorDiv(now, 1000) {
					want.add(counts{1, int64(i)})
				}
			}
			if got := l.live(now); got != want {
				t.Fatalf("at %d, %+v are live, want %+v", now, got, want)
			}
		}
		for i, at := range expiries {
			l.sub(at, counts{1, int64(i)})
		}
		if l.total != (counts{}) || len(l.lines)+len(l.pages) != 0 {
			t.Fatalf("%+v, %d lines and %d pages are left", l.total, len(l.lines), len(l.pages))
		}
	})
}

// TestLedgerSeconds: an entry is counted until the first whole second at which
// it has expired.
func TestLedgerSeconds(t *testing.T) {
	t.Parallel()
	for expires, want := range map[int64]int64{0: 0, 1: 1, 999: 1, 1000: 1, 1001: 2, -1: 0, -1000: -1, -1001: -1} {
		t.Run(fmt.Sprint(expires), func(t *testing.T) {
			if got := second(expires); got != want {
				t.Errorf("second(%d) = %d, want %d", expires, got, want)
			}
		})
	}
}
