package memcachekv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

func refOf(e kv.Entry) kv.Ref { return kv.Ref{Key: e.Key, Version: e.Version} }

// TestPurgeFull: a server that evicts nothing and is full has room for a purge,
// and then for what was refused.
func TestPurgeFull(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t, "-M", "-m", "8")
	st := open(t, Options{}, mc.addr)
	ctx := context.Background()
	wide := func(i int) kv.Entry {
		e := entry(fmt.Sprint("k", i), 1)
		e.Value = append(e.Value, make([]byte, 4000)...)
		return e
	}
	count := 0
	for ; ; count++ {
		if err := st.Apply(ctx, []kv.Entry{wide(count)}, nil); errors.Is(err, kv.ErrFull) {
			break
		} else if err != nil || count > 10_000 {
			t.Fatalf("entry %d: %v", count, err)
		}
	}
	var refs []kv.Ref
	for i := range count / 2 {
		refs = append(refs, refOf(wide(i)))
	}
	purged := make([]bool, len(refs))
	if err := st.Purge(ctx, refs, purged); err != nil {
		t.Fatal(err)
	}
	for i := range refs {
		if !purged[i] {
			t.Fatalf("purged[%d] is false", i)
		}
		expectNone(t, st, string(refs[i].Key))
	}
	for i := range count / 3 {
		put(t, st, wide(count+i))
	}
	for i := count / 2; i < count; i++ {
		expect(t, st, wide(i))
	}
}

// TestPurgeDown: what is on a server that is down is not purged, and the rest
// is.
func TestPurgeDown(t *testing.T) {
	t.Parallel()
	servers := []*memcached{startMemcached(t), startMemcached(t)}
	st := open(t, Options{Timeout: time.Second}, servers[0].addr, servers[1].addr)
	var entries []kv.Entry
	var refs []kv.Ref
	for i := range 300 {
		entries = append(entries, entry(fmt.Sprint(strings.Repeat("k", i), i), 1)) // hashed ones, too
		refs = append(refs, refOf(entries[i]))
	}
	put(t, st, entries...)
	servers[1].kill()
	purged := make([]bool, len(refs))
	if err := st.Purge(context.Background(), refs, purged); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), servers[1].addr) {
		t.Errorf("Purge: %v", err)
	}
	for i := range refs {
		if up := st.server(refs[i].Key).index == 0; purged[i] != up {
			t.Errorf("purged[%d] is %v, on a server that is up: %v", i, purged[i], up)
		}
	}
}

// TestForget: all entries are gone, from each server and for good, metadata are
// not, and what is written afterwards stays.
func TestForget(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 3)
	st := open(t, Options{}, addrs...)
	other := open(t, Options{}, addrs...) // of another node
	ctx := context.Background()
	var entries []kv.Entry
	for i := range 100 {
		entries = append(entries, entry(fmt.Sprint("k", i), 2))
	}
	put(t, st, entries...)
	put(t, other, entries...)
	if err := st.SaveMeta(ctx, "id", []byte("me")); err != nil {
		t.Fatal(err)
	}
	if err := kv.EmptyAll(ctx, st, kv.DefaultPartitions); err != nil {
		t.Fatal(err)
	}
	check := func(want []kv.Entry) {
		t.Helper()
		for i, e := range entries {
			if i < len(want) {
				expect(t, st, want[i])
			} else {
				expectNone(t, st, string(e.Key))
			}
			expect(t, other, e)
		}
		if data, err := st.LoadMeta(ctx, "id"); string(data) != "me" {
			t.Errorf("metadata are %q, %v", data, err)
		}
	}
	check(nil)
	var older []kv.Entry
	for i := range 50 {
		older = append(older, entry(fmt.Sprint("k", i), 1))
	}
	put(t, st, older...)
	check(older)
	for _, srv := range st.servers {
		if err := srv.checkNow(ctx); err != nil {
			t.Error(err)
		}
	}
	st.Close()
	st = open(t, Options{Namespace: st.opts.Namespace}, addrs...)
	check(older)
	st.Close()
	if err := st.Forget(ctx); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Forget after Close: %v", err)
	}
}

// TestForgetUnderLoad forgets while others write and read: each reads what it
// wrote last or a miss, and what was written before the call is gone.
func TestForgetUnderLoad(t *testing.T) {
	t.Parallel()
	st := open(t, Options{}, sharedServers(t, 2)...)
	var group sync.WaitGroup
	done := make(chan struct{})
	for w := range 3 {
		newOwner(st, fmt.Sprint("owner ", w), 20, 10).run(t, &group, done)
	}
	for n := range 20 {
		before := entry(fmt.Sprint("before ", n), 1)
		put(t, st, before)
		if err := st.Forget(context.Background()); err != nil {
			t.Error(err)
		}
		expectNone(t, st, string(before.Key))
		after := entry(fmt.Sprint("after ", n), 1)
		put(t, st, after)
		expect(t, st, after)
	}
	close(done)
	group.Wait()
}

// TestForgetDown: where a server does not answer, Forget says so, and the server
// forgets as soon as it answers, for nobody knows what it was told.
func TestForgetDown(t *testing.T) {
	t.Parallel()
	servers := []*memcached{startMemcached(t), startMemcached(t)}
	r := newRelay(t, servers[1].addr)
	st := open(t, Options{Timeout: time.Second}, servers[0].addr, r.Addr().String())
	var entries []kv.Entry
	for i := range 50 {
		entries = append(entries, entry(fmt.Sprint("k", i), 1))
	}
	put(t, st, entries...)
	r.lead("127.0.0.1:1") // where nobody listens
	if err := st.Forget(context.Background()); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Forget: %v", err)
	}
	r.lead(servers[1].addr)
	eventually(t, "the server has forgotten", func() bool { return !st.servers[1].spent.Load() })
	if err := st.Forget(context.Background()); err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		expectNone(t, st, string(e.Key))
	}
}
