package memcachekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// TestEviction writes far more than the server has room for: what is read is a
// miss or what was written last.
func TestEviction(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t, "-m", "4")
	st := open(t, Options{}, mc.addr)
	if err := st.SaveMeta(context.Background(), "id", []byte("me")); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	owners := []*owner{
		newOwner(st, "small", 1000, 100), newOwner(st, "medium", 1000, 3000),
		newOwner(st, "large", 100, 60_000), newOwner(st, strings.Repeat("hashed", 50), 500, 2000),
	}
	for _, o := range owners {
		group.Go(func() {
			for n := range 2 {
				if err := o.round(n + 1); err != nil && !errors.Is(err, kv.ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	var hits, misses int64
	for _, o := range owners {
		hits, misses = hits+o.hits.Load(), misses+o.misses.Load()
		if o.failures.Load() > 0 {
			t.Errorf("%d calls of %.20s failed", o.failures.Load(), o.name)
		}
	}
	if hits == 0 || misses == 0 {
		t.Errorf("%d hits and %d misses, want some of both", hits, misses)
	}
	st.Close()
	st = open(t, Options{Namespace: st.opts.Namespace}, mc.addr)
	if data, err := st.LoadMeta(context.Background(), "id"); string(data) != "me" {
		t.Errorf("metadata are %q, %v after evictions", data, err)
	}
}

// TestFull fills a server that evicts nothing.
func TestFull(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t, "-M", "-m", "8")
	st := open(t, Options{}, mc.addr)
	ctx := context.Background()
	large := func(i, n int) kv.Entry {
		e := entry(fmt.Sprint("k", i), n)
		e.Value = append(e.Value, make([]byte, 4000)...)
		return e
	}
	count := 0
	for ; ; count++ {
		done := make([]kv.Applied, 1)
		err := st.Apply(ctx, []kv.Entry{large(count, 1)}, done)
		if errors.Is(err, kv.ErrFull) {
			if done[0] != (kv.Applied{}) || !strings.Contains(err.Error(), mc.addr) {
				t.Errorf("done is %v after %v", done[0], err)
			}
			break
		}
		if err != nil || count > 10_000 {
			t.Fatalf("entry %d: %v", count, err)
		}
	}
	batch, done := []kv.Entry{}, make([]kv.Applied, 100)
	for i := range done {
		batch = append(batch, large(i, 2))
	}
	if err := st.Apply(ctx, batch, done); !errors.Is(err, kv.ErrFull) {
		t.Errorf("a batch: %v, want ErrFull", err)
	}
	for i := range count {
		want := large(i, 1)
		if i < len(done) && done[i].Held == at(2) {
			want = large(i, 2)
		}
		expect(t, st, want) // what was refused has not harmed what was there
	}
	for size := 10; size < 500; size += 15 { // down to what a lease takes
		for n, err := 0, error(nil); !errors.Is(err, kv.ErrFull); n++ {
			var batch []kv.Entry
			for i := range 200 {
				e := entry(fmt.Sprintf("small %d %d %d", size, n, i), 1)
				e.Value = append(e.Value, make([]byte, size)...)
				batch = append(batch, e)
			}
			if err = st.Apply(ctx, batch, nil); err != nil && !errors.Is(err, kv.ErrFull) {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		if err := st.servers[0].checkNow(ctx); err != nil {
			t.Fatalf("the lease of a full server is not renewed: %v", err)
		}
	}
	for i := range 50 {
		if err := st.SaveMeta(ctx, "id", fmt.Append(nil, "me ", i)); err != nil {
			t.Fatal(err)
		}
	}
	// A deletion may be refused, but then says so.
	for i := range 100 {
		dead := kv.Entry{Key: large(i, 1).Key, Version: at(3), Deleted: true}
		err := st.Apply(ctx, []kv.Entry{dead}, nil)
		if err != nil && !errors.Is(err, kv.ErrFull) {
			t.Fatal(err)
		}
		if got, gerr := st.Get(ctx, dead.Key, nil); gerr != nil || got.Deleted != (err == nil) {
			t.Errorf("after Apply of a tombstone: %v, there is %v, %v", err, got.Version, gerr)
		}
	}
	st.Close()
	st = open(t, Options{Namespace: st.opts.Namespace, Patience: time.Second}, mc.addr) // it was given up
	if data, err := st.LoadMeta(ctx, "id"); string(data) != "me 49" {
		t.Errorf("metadata are %q, %v", data, err)
	}
}

// TestMaxValue: the largest value fits, under the largest key and content type,
// in servers of which one takes less than the other.
func TestMaxValue(t *testing.T) {
	t.Parallel()
	for size, want := range map[string]int{"512k": 512<<10 - itemOverhead, "1m": 1<<20 - itemOverhead, "2m": 1<<20 - itemOverhead} {
		mc := startMemcached(t, "-I", size, "-m", "256")
		st := open(t, Options{}, mc.addr, sharedServers(t, 1)[0])
		if st.MaxValue() != want {
			t.Errorf("the largest value is %d bytes with -I %s, want %d", st.MaxValue(), size, want)
		}
		for i := range 6 { // on both servers
			e := kv.Entry{
				Key: bytes.Repeat([]byte{byte(i)}, 1024), Value: bytes.Repeat([]byte{byte(i)}, st.MaxValue()),
				ContentType: strings.Repeat("x", 1024), Version: at(1), Expires: 1 << 62,
			}
			put(t, st, e)
			expect(t, st, e)
		}
	}
}

// TestTooLargeInBatch: what is too large is said to be so, and the rest is
// taken.
func TestTooLargeInBatch(t *testing.T) {
	t.Parallel()
	st := open(t, Options{}, sharedServers(t, 1)...)
	large := entry("b", 2)
	large.Value = make([]byte, st.MaxValue()+1)
	done := make([]kv.Applied, 4)
	err := st.Apply(context.Background(), []kv.Entry{entry("a", 1), entry("b", 1), large, entry("c", 1)}, done)
	if !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	for i, want := range []kv.Applied{{Held: at(1)}, {Held: at(1)}, {}, {Held: at(1)}} {
		if done[i] != want {
			t.Errorf("done[%d] is %v, want %v", i, done[i], want)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		expect(t, st, entry(key, 1))
	}
}
