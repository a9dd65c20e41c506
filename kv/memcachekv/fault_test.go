package memcachekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/thunderdb/thunderdb/kv"
)

// owner writes some keys that nobody else writes, again and again, and reads
// them back: a miss, or what it wrote last and was told is there. What failed
// may be there or not.
type owner struct {
	st    *Store
	name  string
	keys  int
	size  int // of values, at least
	acked []int
	tried []int

	writes, hits, misses, failures atomic.Int64
}

func newOwner(st *Store, name string, keys, size int) *owner {
	return &owner{st: st, name: name, keys: keys, size: size, acked: make([]int, keys), tried: make([]int, keys)}
}

func (o *owner) entry(k, n int) kv.Entry {
	e := entry(fmt.Sprintf("%s/%d", o.name, k), n)
	e.Value = append(e.Value, strings.Repeat(".", o.size)...)
	return e
}

// round writes all keys, in batches or alone, and reads them.
func (o *owner) round(n int) error {
	ctx := context.Background()
	batch := 1 + n%17
	for k := 0; k < o.keys; k += batch {
		var entries []kv.Entry
		for i := k; i < min(k+batch, o.keys); i++ {
			entries = append(entries, o.entry(i, n))
			o.tried[i] = n
		}
		done := make([]kv.Applied, len(entries))
		err := o.st.Apply(ctx, entries, done)
		if err != nil && !errors.Is(err, kv.ErrUnavailable) {
			return err
		}
		for i := range entries {
			if done[i].Held == at(n) {
				o.acked[k+i] = n
				o.writes.Add(1)
			} else if err == nil {
				return fmt.Errorf("%v is held after write %d", done[i].Held, n)
			}
		}
		if err != nil {
			o.failures.Add(1)
		}
	}
	for k := range o.keys {
		if err := o.read(k); err != nil {
			return err
		}
	}
	return nil
}

func (o *owner) read(k int) error {
	e := o.entry(k, 0)
	got, err := o.st.Get(context.Background(), e.Key, nil)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		o.misses.Add(1)
	case errors.Is(err, kv.ErrUnavailable):
		o.failures.Add(1)
	case err != nil:
		return err
	default:
		n := int(got.Version.Time - at(0).Time)
		want := o.entry(k, n)
		if n < o.acked[k] || n > o.tried[k] || string(got.Value) != string(want.Value) {
			return fmt.Errorf("%s is %.40q of write %d, acknowledged %d, tried %d", e.Key, got.Value, n, o.acked[k], o.tried[k])
		}
		o.hits.Add(1)
	}
	return nil
}

// run does rounds until done is closed.
func (o *owner) run(t *testing.T, group *sync.WaitGroup, done <-chan struct{}) {
	group.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			if err := o.round(n); err != nil {
				t.Error(err)
				return
			}
		}
	})
}

// TestRestart kills servers under load and starts them again.
func TestRestart(t *testing.T) {
	t.Parallel()
	servers := []*memcached{startMemcached(t), startMemcached(t), startMemcached(t)}
	st := open(t, Options{Timeout: time.Second}, servers[0].addr, servers[1].addr, servers[2].addr)
	if err := st.SaveMeta(context.Background(), "id", []byte("me")); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	done := make(chan struct{})
	var owners []*owner
	for i := range 4 {
		o := newOwner(st, fmt.Sprint("owner", i), 50, 10)
		o.run(t, &group, done)
		owners = append(owners, o)
	}
	rises := func(count func(*owner) int64) func() bool {
		var before []int64
		for _, o := range owners {
			before = append(before, count(o))
		}
		return func() bool {
			for i, o := range owners {
				if count(o) <= before[i] && !t.Failed() {
					return false
				}
			}
			return true
		}
	}
	for i, mc := range servers {
		eventually(t, "entries are read", rises(func(o *owner) int64 { return o.hits.Load() }))
		still := newOwner(st, "still", 30, 10) // writes nothing meanwhile
		if err := still.round(i + 1); err != nil || still.hits.Load() != 30 {
			t.Errorf("%v, %d are read", err, still.hits.Load())
		}
		mc.kill()
		eventually(t, "calls fail", rises(func(o *owner) int64 { return o.failures.Load() }))
		mc.start(t)
		eventually(t, "all goes on", rises(func(o *owner) int64 { return o.writes.Load() + o.hits.Load() }))
		for k := range still.keys {
			if e := still.entry(k, i+1); st.server(e.Key).index == i {
				expectNone(t, st, string(e.Key))
			} else {
				expect(t, st, e)
			}
		}
	}
	close(done)
	group.Wait()
	for _, o := range owners {
		failed := o.failures.Load()
		if err := o.round(1_000_000); err != nil || o.failures.Load() > failed {
			t.Errorf("after all: %v, %d failed", err, o.failures.Load()-failed)
		}
	}
	if data, err := st.LoadMeta(context.Background(), "id"); string(data) != "me" {
		t.Errorf("metadata are %q, %v", data, err)
	}
	st.Close()
	again := open(t, Options{Namespace: st.opts.Namespace}, st.addrs...)
	if data, err := again.LoadMeta(context.Background(), "id"); string(data) != "me" {
		t.Errorf("metadata are %q, %v after the first server had lost and was given them", data, err)
	}
	for _, o := range owners {
		for k := range o.keys {
			expect(t, again, o.entry(k, 1_000_000))
		}
	}
}

// TestDown: what is on a server that is down is unavailable and no miss, and
// the rest goes on, key by key.
func TestDown(t *testing.T) {
	t.Parallel()
	servers := []*memcached{startMemcached(t), startMemcached(t)}
	st := open(t, Options{Timeout: time.Second}, servers[0].addr, servers[1].addr)
	ctx := context.Background()
	var keys [][]byte
	var entries []kv.Entry
	for i := range 300 {
		entries = append(entries, entry(fmt.Sprint("k", i), 1))
		keys = append(keys, entries[i].Key)
	}
	put(t, st, entries...)
	servers[1].kill()

	found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
	st.GetBatch(ctx, keys, found, errs)
	newer := make([]kv.Entry, len(keys))
	for i, key := range keys {
		newer[i] = entry(string(key), 2)
		switch st.server(key).index {
		case 0:
			if errs[i] != nil || string(found[i].Value) != string(entries[i].Value) {
				t.Errorf("GetBatch of %s: %.20q, %v", key, found[i].Value, errs[i])
			}
		case 1:
			if !errors.Is(errs[i], kv.ErrUnavailable) || errors.Is(errs[i], kv.ErrNotFound) || !strings.Contains(errs[i].Error(), servers[1].addr) {
				t.Errorf("GetBatch of %s, whose server is down: %v", key, errs[i])
			}
		}
	}
	for _, key := range keys[:20] {
		if _, err := st.Get(ctx, key, nil); (err == nil) != (st.server(key).index == 0) || errors.Is(err, kv.ErrNotFound) {
			t.Errorf("Get of %s on server %d: %v", key, st.server(key).index, err)
		}
		if st.server(key).index == 1 {
			break // it takes a while
		}
	}
	done := make([]kv.Applied, len(keys))
	if err := st.Apply(ctx, newer, done); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), servers[1].addr) {
		t.Errorf("Apply: %v", err)
	}
	for i, key := range keys {
		want := at(2)
		if st.server(key).index == 1 {
			want = kv.Version{}
		}
		if done[i].Held != want {
			t.Errorf("%v is held of %s, want %v", done[i].Held, key, want)
		}
	}
	if err := st.Apply(ctx, newer[:1], nil); (err == nil) != (st.server(keys[0]).index == 0) {
		t.Errorf("Apply of one: %v", err)
	}
}

// TestHung: a server that takes connections and does not answer keeps a call
// no longer than its context, or the store's timeout.
func TestHung(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t)
	st := open(t, Options{Timeout: 600 * time.Millisecond}, mc.addr)
	put(t, st, entry("k", 1))
	patient := open(t, Options{Timeout: time.Hour}, mc.addr)
	patient.watching() // which would wait as well
	mc.pause(t)
	calls := map[string]func(ctx context.Context) error{
		"Get": func(ctx context.Context) error {
			_, err := st.Get(ctx, []byte("k"), nil)
			return err
		},
		"Apply": func(ctx context.Context) error { return st.Apply(ctx, []kv.Entry{entry("k", 2)}, nil) },
		"a batch": func(ctx context.Context) error {
			return st.Apply(ctx, []kv.Entry{entry("k", 2), entry("k2", 2)}, nil)
		},
		"GetBatch": func(ctx context.Context) error {
			errs := make([]error, 1)
			st.GetBatch(ctx, [][]byte{[]byte("k")}, make([]kv.Entry, 1), errs)
			return errs[0]
		},
		"SaveMeta": func(ctx context.Context) error { return st.SaveMeta(ctx, "id", nil) },
		"Purge": func(ctx context.Context) error {
			return st.Purge(ctx, []kv.Ref{{Key: []byte("k"), Version: at(9)}}, nil)
		},
	}
	var group sync.WaitGroup
	for name, call := range calls {
		group.Go(func() {
			if err := call(context.Background()); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), mc.addr) {
				t.Errorf("%s of a server that hangs: %v", name, err)
			}
		})
	}
	group.Wait()

	// Another store would wait for long, and is asked not to.
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error, 1)
	go func() {
		_, err := patient.Get(ctx, []byte("k"), nil)
		got <- err
	}()
	eventually(t, "the call is waiting", func() bool { return len(patient.servers[0].places) == 1 })
	cancel()
	select {
	case err := <-got:
		if !errors.Is(err, kv.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("Get with a context that is cancelled: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Get does not end with its context")
	}
	if err := mc.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		if err := call(context.Background()); err != nil {
			t.Errorf("%s after the server went on: %v", name, err)
		}
	}
	expect(t, st, entry("k", 2))
}

// TestCloseWaits: Close returns when no call is under way any more.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t)
	st := open(t, Options{Timeout: 300 * time.Millisecond}, mc.addr)
	mc.pause(t)
	var group sync.WaitGroup
	group.Go(func() { st.Get(context.Background(), []byte("k"), nil) })
	eventually(t, "the call is waiting", func() bool { return len(st.servers[0].places) > 0 })
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if n := len(st.servers[0].places); n > 0 {
		t.Errorf("%d connections are in use after Close", n)
	}
	group.Wait()
}

// TestManyConnections: after a restart of the server no call fails for a
// connection that leads to the old process, however many there were.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t)
	st := open(t, Options{}, mc.addr)
	var opened func(n int) error
	opened = func(n int) error {
		if n == 0 {
			return nil
		}
		return st.servers[0].do(context.Background(), func(*session) error { return opened(n - 1) })
	}
	if err := opened(maxSessions); err != nil {
		t.Fatal(err)
	}
	st.watching() // which would find out
	mc.kill()
	mc.start(t)
	expectNone(t, st, "k")
}

// TestNoRedial: a call whose connection has ended does not go on with another
// one, which may lead elsewhere and was not checked.
func TestNoRedial(t *testing.T) {
	t.Parallel()
	st := open(t, Options{}, sharedServers(t, 1)...)
	calls := 0
	err := st.servers[0].do(context.Background(), func(s *session) error {
		if calls++; calls > 1 {
			return nil
		}
		s.close()
		_, err := s.get("k")
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v, want a second one", calls, err)
	}
}

// TestCut ends each connection in the middle of a write: what is held is not
// known, and held says nothing.
func TestCut(t *testing.T) {
	t.Parallel()
	r := newRelay(t, startMemcached(t).addr)
	st := open(t, Options{}, r.Addr().String())
	put(t, st, entry("k1", 1))
	r.cut.Store(true)
	done := []kv.Applied{{Held: at(9)}, {Held: at(9)}}
	err := st.Apply(context.Background(), []kv.Entry{entry("k1", 2), entry("k2 "+cutHere, 2)}, done)
	if !errors.Is(err, kv.ErrUnavailable) || done[0] != (kv.Applied{}) || done[1] != (kv.Applied{}) {
		t.Errorf("done is %v after %v", done, err)
	}
	r.cut.Store(false)
	expect(t, st, entry("k1", 1)) // the write came no further than the relay
	put(t, st, entry("k1", 2), entry("k2 "+cutHere, 2))
	expect(t, st, entry("k1", 2))
}

// TestFlush: a server that was flushed begins anew, as the store finds out by
// itself; what is written then stays.
func TestFlush(t *testing.T) {
	t.Parallel()
	mc := startMemcached(t)
	st := open(t, Options{}, mc.addr)
	mark := st.servers[0].mark.Load()
	put(t, st, entry("k", 1))
	if err := st.SaveMeta(context.Background(), "id", []byte("me")); err != nil {
		t.Fatal(err)
	}
	client := memcache.New(mc.addr)
	defer client.Close()
	if err := client.FlushAll(); err != nil {
		t.Fatal(err)
	}
	expectNone(t, st, "k")
	eventually(t, "the server has a new mark", func() bool { return *st.servers[0].mark.Load() != *mark })
	put(t, st, entry("k", 2))
	st.Close()
	st = open(t, Options{Namespace: st.opts.Namespace}, mc.addr)
	expect(t, st, entry("k", 2))
	if data, err := st.LoadMeta(context.Background(), "id"); string(data) != "me" {
		t.Errorf("metadata are %q, %v", data, err)
	}
}

// TestLostWhileClosed: what was flushed while no store was open is gone with
// the metadata where that was the first server, and without them otherwise.
func TestLostWhileClosed(t *testing.T) {
	t.Parallel()
	servers := []*memcached{startMemcached(t), startMemcached(t)}
	st := open(t, Options{}, servers[0].addr, servers[1].addr)
	fill := func() {
		for i := range 50 {
			put(t, st, entry(fmt.Sprint("k", i), 1))
		}
		if err := st.SaveMeta(context.Background(), "id", []byte("me")); err != nil {
			t.Fatal(err)
		}
	}
	for flushed := range servers {
		fill()
		st.Close()
		servers[flushed].kill()
		servers[flushed].start(t)
		st = open(t, Options{Namespace: st.opts.Namespace}, st.addrs...)
		for i := range 50 {
			e := entry(fmt.Sprint("k", i), 1)
			if flushed == 0 || st.server(e.Key).index == flushed {
				expectNone(t, st, string(e.Key))
			} else {
				expect(t, st, e)
			}
		}
		if _, err := st.LoadMeta(context.Background(), "id"); errors.Is(err, kv.ErrNotFound) != (flushed == 0) {
			t.Errorf("metadata after server %d was restarted: %v", flushed, err)
		}
	}
}

// relay is an address that leads to one server or another.
type relay struct {
	net.Listener
	mu    sync.Mutex // guards what follows
	to    string
	conns []net.Conn
	group sync.WaitGroup
	cut   atomic.Bool // whether cutHere ends a connection on its way
}

const cutHere = "cut here"

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to}
	r.group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(conn)
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.lead(to)
		r.group.Wait()
	})
	return r
}

func (r *relay) serve(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		conn.Close()
		return
	}
	r.conns = append(r.conns, conn, server)
	for _, pair := range [...][2]net.Conn{{conn, server}, {server, conn}} {
		r.group.Go(func() {
			defer pair[0].Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := pair[1].Read(buf)
				if err != nil || r.cut.Load() && bytes.Contains(buf[:n], []byte(cutHere+"=")) {
					return
				}
				if _, err := pair[0].Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
}

// lead cuts all connections, and has new ones lead to another server.
func (r *relay) lead(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
	for _, conn := range r.conns {
		conn.Close()
	}
	r.conns = nil
}

// TestOldServerReturns: an address leads to another server for a while. What
// the first one still holds when it is back is old, and must not be seen,
// whether the store was open meanwhile or not.
func TestOldServerReturns(t *testing.T) {
	t.Parallel()
	home, old, other := startMemcached(t), startMemcached(t), startMemcached(t)
	for _, closed := range []bool{false, true} {
		r := newRelay(t, old.addr)
		st := open(t, Options{}, home.addr, r.Addr().String())
		key := "k"
		for i := 0; st.server([]byte(key)).index != 1; i++ {
			key = fmt.Sprint("k", i)
		}
		lead := func(to string) {
			if closed {
				st.Close()
			}
			r.lead(to)
			if closed {
				st = open(t, Options{Namespace: st.opts.Namespace}, st.addrs...)
			}
		}
		put(t, st, entry(key, 1))
		lead(other.addr)
		expectNone(t, st, key)
		put(t, st, entry(key, 2))
		expect(t, st, entry(key, 2))
		lead(old.addr)
		expectNone(t, st, key) // and not what was written first
		lead(other.addr)
		expectNone(t, st, key)
		put(t, st, entry(key, 3))
		expect(t, st, entry(key, 3))
	}
}

// TestMarkNeedsRecord: a server that has lost its mark is not used before the
// first one knows of its new mark.
func TestMarkNeedsRecord(t *testing.T) {
	t.Parallel()
	home, one, other := startMemcached(t), startMemcached(t), startMemcached(t)
	r := newRelay(t, one.addr)
	st := open(t, Options{Timeout: time.Second}, home.addr, r.Addr().String())
	var entries []kv.Entry
	for i := 0; len(entries) < 4; i++ {
		if e := entry(fmt.Sprint("k", i), 1); st.server(e.Key).index == 1 {
			entries = append(entries, e)
		}
	}
	put(t, st, entries...)
	home.kill()
	r.lead(other.addr)
	for _, e := range entries {
		if _, err := st.Get(context.Background(), e.Key, nil); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("Get while the record is out of reach: %v", err)
		}
	}
	home.start(t)
	for _, e := range entries {
		expectNone(t, st, string(e.Key))
	}
}
