package antientropy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// twoFakes draws two replicas with histories that have much in common.
func twoFakes(t *rapid.T) (a, b *fake) {
	partitions := rapid.SampledFrom([]int{1, 3, 8}).Draw(t, "partitions")
	a, b = newFake("a", partitions), newFake("b", partitions)
	common := rapid.SliceOf(anEntry()).Draw(t, "common")
	for _, f := range []*fake{a, b} {
		f.page = rapid.IntRange(0, 4).Draw(t, f.name+"'s page")
		f.getAtMost = rapid.IntRange(0, 4).Draw(t, f.name+"'s get")
		f.put(common...)
		f.put(rapid.SliceOfN(anEntry(), 0, 10).Draw(t, "of "+f.name)...)
		if rapid.IntRange(0, 3).Draw(t, "forget") == 0 {
			f.trees.Forget(0)
		}
	}
	return a, b
}

// union returns a replica that was given all that a and b hold.
func union(a, b *fake) *fake {
	f := newFake("union", a.partitions)
	f.put(slices.Collect(maps.Values(a.contents()))...)
	f.put(slices.Collect(maps.Values(b.contents()))...)
	return f
}

// sameButSwept reports whether two replicas hold the same, not counting which
// of their expired entries are tombstones by now.
func sameButSwept(a, b *fake) bool {
	return maps.EqualFunc(a.contents(), b.contents(), func(x, y kv.Entry) bool {
		return x.Version == y.Version && (x.Expires != 0 || x.Deleted == y.Deleted && string(x.Value) == string(y.Value))
	})
}

func TestExchangeMakesAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := twoFakes(t)
		want := union(a, b)
		moved, err := Exchange(context.Background(), a, b, a.all(), Options{})
		a.sumUp()
		b.sumUp()
		slices.Sort(moved.Done)
		if err != nil || !slices.Equal(moved.Done, a.all()) || !sameButSwept(a, want) || !sameButSwept(b, want) {
			t.Fatalf("%v, done %v; %d and %d entries, want %d", err, moved.Done, len(a.held), len(b.held), len(want.held))
		}
		for p := range a.partitions {
			if da, db := a.trees.Digest(p), b.trees.Digest(p); !da.Alike(&db) {
				t.Fatalf("the digests of partition %d differ", p)
			}
		}
		again, err := Exchange(context.Background(), a, b, a.all(), Options{})
		if err != nil || again.Entries != 0 || len(again.Changed) != 0 || len(again.Done) != a.partitions {
			t.Fatalf("a second exchange did %+v, %v", again, err)
		}
	})
}

func TestPullTakesWhatIsNewer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := twoFakes(t)
		want, before := union(a, b), b.contents()
		moved, err := Pull(context.Background(), a, b, a.all(), Options{})
		if err != nil || len(moved.Done) != a.partitions || !sameButSwept(a, want) {
			t.Fatalf("%v, done %v; %d entries, want %d", err, moved.Done, len(a.held), len(want.held))
		}
		if len(before) != len(b.contents()) || b.calls["apply"] != 0 {
			t.Fatal("a pull has written to its source")
		}
	})
}

// many returns two replicas that hold the same entries.
func many(partitions, entries int) (a, b *fake) {
	a, b = newFake("a", partitions), newFake("b", partitions)
	for i := range entries {
		e := entry(fmt.Sprintf("key%05d", i), 1, "value")
		a.put(e)
		b.put(e)
	}
	return a, b
}

func TestOnlyWhatDiffersIsFetched(t *testing.T) {
	t.Parallel()
	a, b := many(500, 3000)
	if _, err := Exchange(t.Context(), a, b, a.all(), Options{}); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"digests": 1}; !maps.Equal(a.calls, want) || !maps.Equal(b.calls, want) {
		t.Errorf("replicas that are alike got the calls %v and %v", a.calls, b.calls)
	}
	a.forget()
	b.forget()
	newer := []kv.Entry{entry("key00007", 2, "x"), entry("key00008", 2, "x"), entry("more", 1, "x")}
	b.put(newer...)
	a.put(entry("key00009", 2, "y"))
	moved, err := Exchange(t.Context(), a, b, a.all(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantAlike(t, a, b)
	if moved.Entries != 4 || b.fetched != 3 || a.fetched != 1 || len(a.batches) != 1 || len(b.batches) != 1 {
		t.Errorf("moved %+v; fetched %d and %d keys, applied %d and %d batches", moved,
			b.fetched, a.fetched, len(a.batches), len(b.batches))
	}
	touched := map[int]bool{}
	for _, e := range append(newer, entry("key00009", 2, "")) {
		touched[kv.Partition(e.Key, 500)] = true
	}
	if want := slices.Sorted(maps.Keys(touched)); !slices.Equal(moved.Changed, want) ||
		!slices.Equal(slices.Compact(slices.Sorted(slices.Values(a.listed))), want) {
		t.Errorf("changed %v, listed %v, want %v", moved.Changed, a.listed, want)
	}
}

func TestDigestsAreAskedOfManyPartitionsAtOnce(t *testing.T) {
	t.Parallel()
	a, b := newFake("a", kv.DefaultPartitions), newFake("b", kv.DefaultPartitions)
	moved, err := Pull(t.Context(), a, b, a.all(), Options{})
	if err != nil || len(moved.Done) != kv.DefaultPartitions || a.calls["digests"] != 8 || b.calls["digests"] != 8 {
		t.Errorf("%d done by the calls %v and %v: %v", len(moved.Done), a.calls, b.calls, err)
	}
}

// What a bucket holds that is alike is not compared: what is written there
// while the partition is walked is none of the exchange's business.
func TestBucketsThatAreAlikeAreLeftAlone(t *testing.T) {
	t.Parallel()
	a, b := many(1, 100)
	b.put(entry("key00001", 2, "differs"))
	b.fault = func(call string, after bool) error {
		if call == "list" && !after {
			for i := range 100 { // all of them are written while it lists
				b.held[fmt.Sprintf("key%05d", i)] = entry(fmt.Sprintf("key%05d", i), 3, "late")
			}
		}
		return nil
	}
	if _, err := Pull(t.Context(), a, b, a.all(), Options{}); err != nil {
		t.Fatal(err)
	}
	if b.fetched == 0 || b.fetched > 30 {
		t.Errorf("%d keys of 100 were fetched, want those of one bucket", b.fetched)
	}
}

func TestEmptyReplicaIsFilledWithoutFetching(t *testing.T) {
	t.Parallel()
	for name, exchange := range map[string]func(full, empty *fake) (Moved, error){
		"pull": func(full, empty *fake) (Moved, error) { return Pull(t.Context(), empty, full, full.all(), Options{}) },
		"to a": func(full, empty *fake) (Moved, error) {
			return Exchange(t.Context(), empty, full, full.all(), Options{})
		},
		"to b": func(full, empty *fake) (Moved, error) {
			return Exchange(t.Context(), full, empty, full.all(), Options{})
		},
		"unknown": func(full, empty *fake) (Moved, error) {
			empty.trees.Forget(0)
			defer empty.sumUp()
			return Pull(t.Context(), empty, full, full.all(), Options{})
		},
	} {
		full, _ := many(20, 2500)
		empty := newFake("e", 20)
		full.page = 100
		moved, err := exchange(full, empty)
		if err != nil || moved.Entries != 2500 || len(moved.Done) != 20 {
			t.Errorf("%s: moved %+v, %v", name, moved, err)
		}
		wantAlike(t, full, empty)
		if name != "unknown" && (full.calls["get"] > 0 || len(empty.listed) > 0 || len(empty.batches) != 3) {
			t.Errorf("%s: calls %v of the full one, %v of the empty one", name, full.calls, empty.calls)
		}
	}
	full, empty := newFake("full", 1), newFake("e", 1)
	full.put(entry("k", 1, "v"))
	if moved, err := Pull(t.Context(), full, empty, full.all(), Options{}); err != nil || len(moved.Done) != 1 || full.calls["list"] > 0 {
		t.Errorf("pull from an empty one: %+v, %v, calls %v", moved, err, full.calls)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	a, b := newFake("a", 4), newFake("b", 4)
	total := 0
	for i := range 400 {
		e := entry(fmt.Sprintf("key%03d", i), 1, strings.Repeat("x", i*100))
		total += sizeOf(&e)
		b.put(e)
	}
	a.put(entry("key000", 1, "")) // in the way of pouring its partition
	var bytes, entries int
	moved, err := Pull(t.Context(), a, b, a.all(), Options{Progress: func(b, e int) { bytes, entries = bytes+b, entries+e }})
	if err != nil || entries != moved.Entries || int64(bytes) != moved.Bytes || moved.Entries != 399 {
		t.Errorf("progress to %d bytes, %d entries; moved %+v, %v", bytes, entries, moved.Entries, err)
	}
	wantAlike(t, a, b)
	if len(a.batches) > total/batchBytes+4 {
		t.Errorf("%d batches of %d bytes", len(a.batches), total)
	}
	for _, size := range a.batches {
		if size > batchBytes {
			t.Errorf("a batch of %d bytes", size)
		}
	}
}

func TestLimitHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newFake("a", 1), newFake("b", 1)
		for i := range 1000 {
			b.put(entry(fmt.Sprintf("key%03d", i), 1, strings.Repeat("x", 10_000)))
		}
		began := time.Now()
		if _, err := Pull(t.Context(), a, b, a.all(), Options{Limit: rate.NewLimiter(1e6, 1e5)}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("10 MB at 1 MB a second took %s", took)
		}
		c := newFake("c", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		moved, err := Pull(ctx, c, b, a.all(), Options{Limit: rate.NewLimiter(1e6, 1e5)})
		if err == nil || len(moved.Done) != 0 {
			t.Errorf("done within a second: %+v, %v", moved, err)
		}
	})
}

func TestRefusedEntriesAreNamed(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		a, b := newFake("a", 4), newFake("b", 4)
		for i := range 100 {
			b.put(entry(fmt.Sprintf("key%02d", i), 5, "x"))
		}
		a.promised["key42"] = kv.Version{Time: 6}
		var to Replica = a
		if silent {
			to = mute{a}
		}
		moved, err := Pull(t.Context(), to, b, a.all(), Options{})
		if err != nil || len(moved.Refused) != 1 || string(moved.Refused[0]) != "key42" || moved.Entries != 99 {
			t.Errorf("moved %+v, %v", moved, err)
		}
		if p := kv.Partition([]byte("key42"), 4); slices.Contains(moved.Done, p) || len(moved.Done) != 3 {
			t.Errorf("done %v, want all but %d", moved.Done, p)
		}
		delete(a.promised, "key42")
		if again, err := Pull(t.Context(), to, b, a.all(), Options{}); err != nil || again.Entries != 1 {
			t.Errorf("once it is not refused any more: %+v, %v", again, err)
		}
		wantAlike(t, a, b)
	}
}

// mute is a replica that does not say what it holds where it refuses an entry.
type mute struct{ *fake }

func (m mute) Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error) {
	held, err := m.fake.Apply(ctx, entries)
	if errors.Is(err, kv.ErrConflict) {
		held = nil
	}
	return held, err
}
