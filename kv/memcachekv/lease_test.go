package memcachekv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/thunderdb/thunderdb/kv"
)

func TestNamespaces(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	ns := unique()
	var stores []*Store
	for i, name := range []string{ns, ns + "/2", ns + " 3", strings.Repeat(ns, 20)} {
		st := open(t, Options{Namespace: name}, addrs...)
		put(t, st, entry("k", i))
		if err := st.SaveMeta(context.Background(), "id", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, st)
	}
	for i, st := range stores {
		expect(t, st, entry("k", i))
		if data, err := st.LoadMeta(context.Background(), "id"); err != nil || data[0] != byte(i) {
			t.Errorf("metadata are %v, %v, want %d", data, err, i)
		}
	}
}

// TestInUse: while a store is open another one of its namespace says who has
// it; after Close it opens at once.
func TestInUse(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 2)
	ns := unique()
	first := open(t, Options{Namespace: ns}, addrs...)
	openFails(t, Options{Namespace: ns}, addrs, "in use", fmt.Sprintf("process %d", os.Getpid()), addrs[0])
	openFails(t, Options{Namespace: ns}, addrs[1:], "in use", addrs[1])
	put(t, first, entry("k", 1)) // the first has not noticed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, open(t, Options{Namespace: ns, Patience: time.Second}, addrs...), entry("k", 1))
}

// TestKilled: the lease of a process that is gone lapses, and Open waits.
func TestKilled(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	ns := unique()
	st := open(t, Options{Namespace: ns}, addrs...)
	put(t, st, entry("k", 1))
	st.watching() // from here on it is as if the process had been killed
	openFails(t, Options{Namespace: ns, Patience: 50 * time.Millisecond}, addrs, "in use")
	expect(t, open(t, Options{Namespace: ns}, addrs...), entry("k", 1))
	// It was not killed, but asleep, and must not go on.
	if _, err := st.Get(context.Background(), []byte("k"), nil); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), "has taken the namespace") {
		t.Errorf("Get after the namespace was taken: %v", err)
	}
	if err := st.SaveMeta(context.Background(), "id", nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("SaveMeta after the namespace was taken: %v", err)
	}
}

// TestUsedMeanwhile: a store that was asleep finds out that another process has
// had the namespace in between, although it is gone again.
func TestUsedMeanwhile(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	ns := unique()
	asleep := open(t, Options{Namespace: ns}, addrs...)
	asleep.watching()
	client := memcache.New(addrs...)
	defer client.Close()
	if err := client.Delete(asleep.names.lease); err != nil { // it lapses
		t.Fatal(err)
	}
	other := open(t, Options{Namespace: ns}, addrs...)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	asleep.servers[0].trusted.Store(0)
	if _, err := asleep.Get(context.Background(), []byte("k"), nil); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), "has used the namespace") {
		t.Errorf("Get after the namespace was used by another: %v", err)
	}
}

// TestSameServer lists one server under two names.
func TestSameServer(t *testing.T) {
	t.Parallel()
	addr := sharedServers(t, 1)[0]
	_, port, _ := net.SplitHostPort(addr)
	ns := unique()
	openFails(t, Options{Namespace: ns}, []string{addr, "localhost:" + port}, "listed under another address as well")
	open(t, Options{Namespace: ns, Patience: time.Second}, addr)
}

// TestServerList refuses any other list of servers, until what the store left
// there is deleted; what was stored before is out of reach then.
func TestServerList(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 3)
	ns := unique()
	st := open(t, Options{Namespace: ns}, addrs[:2]...)
	var old []kv.Entry
	for i := range 100 {
		old = append(old, entry(fmt.Sprint("k", i), 1))
	}
	put(t, st, old...)
	st.Close()
	a, b, c := addrs[0], addrs[1], addrs[2]
	for _, list := range [][]string{addrs, {a}, {b}, {b, a}, {a, c}, {c, b}} {
		openFails(t, Options{Namespace: ns}, list, "the entries are spread over "+a+","+b+",", st.names.record, st.names.mark)
	}
	st = open(t, Options{Namespace: ns}, a, b)
	for _, e := range old {
		expect(t, st, e)
	}
	for _, list := range [][]string{{b, c, a}, {a, b}} {
		st.Close()
		for _, addr := range addrs {
			client := memcache.New(addr)
			client.Delete(st.names.record)
			client.Delete(st.names.mark)
			client.Close()
		}
		st = open(t, Options{Namespace: ns}, list...)
		for _, e := range old {
			expectNone(t, st, string(e.Key))
		}
	}
	st.Close()
	client := memcache.New(a)
	defer client.Close()
	if err := client.Delete(st.names.mark); err != nil { // the record says so, too
		t.Fatal(err)
	}
	openFails(t, Options{Namespace: ns}, []string{a, c}, "the entries are spread over "+a+","+b+",")
}

// TestReopen: entries and metadata are there, from each server.
func TestReopen(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 3} {
		addrs := sharedServers(t, count)
		ns := unique()
		st := open(t, Options{Namespace: ns}, addrs...)
		var entries []kv.Entry
		for i := range 100 {
			entries = append(entries, entry(fmt.Sprint("k", i), i))
		}
		put(t, st, entries...)
		facts := map[string][]byte{"id": []byte("me\x00"), "ring": make([]byte, 64<<10), "none": {}}
		for name, data := range facts {
			if err := st.SaveMeta(context.Background(), name, data); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			st.Close()
			st = open(t, Options{Namespace: ns}, addrs...)
			for _, e := range entries {
				expect(t, st, e)
			}
			for name, want := range facts {
				if got, err := st.LoadMeta(context.Background(), name); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s is %.20q (%d bytes), %v, want %d bytes", name, got, len(got), err, len(want))
				}
			}
		}
	}
}

// TestUnknownRecord refuses a record that a later version has written.
func TestUnknownRecord(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	st := open(t, Options{}, addrs...)
	st.Close()
	client := memcache.New(addrs...)
	defer client.Close()
	for data, want := range map[string]string{`{"Format":2}`: "format 2 is not 1", "nonsense": "no record"} {
		if err := client.Set(&memcache.Item{Key: st.names.record, Value: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		openFails(t, Options{Namespace: st.opts.Namespace}, addrs, want, st.names.record)
	}
}

// TestMetadataTooLarge: what does not fit is refused, and the rest stays.
func TestMetadataTooLarge(t *testing.T) {
	t.Parallel()
	st := open(t, Options{}, sharedServers(t, 1)...)
	ctx := context.Background()
	if err := st.SaveMeta(ctx, "a", make([]byte, 500<<10)); err != nil {
		t.Fatal(err)
	}
	if err := st.SaveMeta(ctx, "b", make([]byte, 500<<10)); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("a second half MiB of metadata: %v, want ErrTooLarge", err)
	}
	if err := st.SaveMeta(ctx, "c", []byte("c")); err != nil {
		t.Error(err)
	}
	if data, err := st.LoadMeta(ctx, "a"); err != nil || len(data) != 500<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestMetadataAtOnce saves facts from many goroutines: all are there after the
// store was opened again.
func TestMetadataAtOnce(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	st := open(t, Options{}, addrs...)
	ctx := context.Background()
	var group sync.WaitGroup
	for name := 'a'; name < 'i'; name++ {
		group.Go(func() {
			for i := range 20 {
				if err := st.SaveMeta(ctx, string(name), fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	st.Close()
	st = open(t, Options{Namespace: st.opts.Namespace}, addrs...)
	for name := 'a'; name < 'i'; name++ {
		if data, err := st.LoadMeta(ctx, string(name)); string(data) != "19" {
			t.Errorf("%c is %q, %v", name, data, err)
		}
	}
}
