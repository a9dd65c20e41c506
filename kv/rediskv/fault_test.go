package rediskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

// load is writers that write keys of their own as fast as they can, while what
// they write to fails.
type load struct {
	store  *Store
	bound  time.Duration // of a call
	group  sync.WaitGroup
	done   chan struct{}
	acked  []atomic.Int64 // by writer, how many writes were acknowledged
	failed atomic.Int64   // how many writes met kv.ErrUnavailable
}

func startLoad(t *testing.T, store *Store, bound time.Duration) *load {
	const writers = 4
	l := &load{store: store, bound: bound, done: make(chan struct{}), acked: make([]atomic.Int64, writers)}
	for w := range writers {
		l.group.Go(func() {
			for n := int64(1); ; n++ {
				select {
				case <-l.done:
					return
				default:
				}
				if err := l.write(w, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return l
}

// loadEntries is the nth write of a writer: of its one key, and every time of
// another key as well.
func loadEntries(w int, n int64) []kv.Entry {
	version := kv.Version{Time: uint64(n), Node: uint64(w)}
	return []kv.Entry{
		{Key: fmt.Appendf(nil, "w%d", w), Value: fmt.Append(nil, n), Version: version},
		{Key: fmt.Appendf(nil, "w%d-%d", w, n), Value: fmt.Append(nil, n), Version: version},
	}
}

// write writes until it is acknowledged. What does not end with its context
// hangs here; that calls do is what TestSilent is about.
func (l *load) write(w int, n int64) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), l.bound)
		err := l.store.Apply(ctx, loadEntries(w, n), nil)
		cancel()
		switch {
		case err == nil:
			l.acked[w].Store(n)
			return nil
		case !errors.Is(err, kv.ErrUnavailable):
			return err
		}
		l.failed.Add(1)
		select {
		case <-l.done:
			return nil
		default:
		}
	}
}

// more waits until every writer has had some more writes acknowledged.
func (l *load) more(t *testing.T) {
	t.Helper()
	for w := range l.acked {
		before := l.acked[w].Load()
		until(t, "writes go on", func() bool { return t.Failed() || l.acked[w].Load() > before+5 })
	}
}

// fails waits until writes fail.
func (l *load) fails(t *testing.T) {
	t.Helper()
	before := l.failed.Load()
	until(t, "writes fail", func() bool { return t.Failed() || l.failed.Load() > before+3 })
}

// stop ends the load and checks that nothing acknowledged is missing.
func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.done)
	l.group.Wait()
	for w := range l.acked {
		var keys [][]byte
		for n := range l.acked[w].Load() {
			keys = append(keys, loadEntries(w, n+1)[1].Key)
		}
		last := loadEntries(w, int64(len(keys)))[0]
		keys = append(keys, last.Key)
		found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
		l.store.GetBatch(context.Background(), keys, found, errs)
		for i, e := range found {
			n := min(i+1, len(keys)-1)
			if errs[i] != nil || e.Version.Time < uint64(n) || i < n && !bytes.Equal(e.Value, fmt.Append(nil, n)) {
				t.Fatalf("write %d of %d is lost: %q has %v, %v", n, w, keys[i], e.Version, errs[i])
			}
		}
	}
}

// TestCrash kills a server that writes through to its disk, under load: calls
// fail in time, it goes on by itself, and nothing acknowledged is lost.
func TestCrash(t *testing.T) {
	t.Parallel()
	server := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server.url(), Options{Partitions: 16})
	l := startLoad(t, s, 200*time.Millisecond)
	for range 3 {
		l.more(t)
		server.kill()
		l.fails(t)
		if _, err := s.Get(context.Background(), []byte("w0"), nil); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), server.addr) {
			t.Errorf("Get while the server is down: %v", err)
		}
		if st, _ := s.count(context.Background(), 0); st.Entries != 0 {
			t.Errorf("count while the server is down: %+v", st)
		}
		if err := server.start(); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t)
	l.stop(t)
	want := s.Stats(0)
	server.kill()
	if got := s.Stats(0); got != want || got.Entries == 0 {
		t.Errorf("Stats while the server is down are %+v, not the last %+v", got, want)
	}
}

// TestScriptFlush: a server that forgets its scripts is taught them again.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{})
	l := startLoad(t, s, time.Minute)
	for range 20 {
		l.more(t)
		server.command(t, "SCRIPT", "FLUSH")
		if st, err := s.count(context.Background(), 0); err != nil || st.Entries == 0 {
			t.Errorf("count = %+v, %v", st, err)
		}
		server.command(t, "SCRIPT", "FLUSH")
		if _, err := s.Expire(context.Background(), 0, 10); err != nil {
			t.Error(err)
		}
		server.command(t, "SCRIPT", "FLUSH")
		if err := s.SaveMeta(context.Background(), "name", nil); err != nil {
			t.Error(err)
		}
	}
	l.stop(t)
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d writes failed", n)
	}
}

// TestConnectionsLost: a call whose connection is lost has another one, and no
// harm done.
func TestConnectionsLost(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{})
	ctx := context.Background()
	for n := range 20 {
		server.command(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		put(t, s, kv.Entry{Key: []byte("k"), Value: []byte("v"), Version: at(n)})
		server.command(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		if got, err := s.Get(ctx, []byte("k"), nil); err != nil || got.Version != at(n) {
			t.Fatalf("Get = %v, %v", got.Version, err)
		}
		server.command(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		found, errs := make([]kv.Entry, 2), make([]error, 2)
		s.GetBatch(ctx, [][]byte{[]byte("k"), []byte("none")}, found, errs)
		if errs[0] != nil || !errors.Is(errs[1], kv.ErrNotFound) {
			t.Fatalf("GetBatch: %v", errs)
		}
	}
}

// TestSilent: calls to a server that takes them and does not answer end with
// their context.
func TestSilent(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{Timeout: time.Second})
	patient := open(t, server.url(), Options{Timeout: time.Hour})
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	put(t, patient, kv.Entry{Key: []byte("k"), Version: at(1)})
	server.command(t, "CLIENT", "PAUSE", "3600000", "ALL")
	// Each of these hangs where nothing bounds it.
	if _, err := s.Get(context.Background(), []byte("k"), nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Get without a deadline: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := patient.Apply(ctx, []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Apply with a deadline: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := patient.Apply(ctx, []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply that was cancelled: %v", err)
	}
	found, errs := make([]kv.Entry, 3*getWindow), make([]error, 3*getWindow)
	found[2*getWindow].Value = []byte("of the caller's last batch")
	s.GetBatch(context.Background(), slices.Repeat([][]byte{[]byte("k")}, 3*getWindow), found, errs)
	for i, err := range errs {
		if !errors.Is(err, kv.ErrUnavailable) || found[i].Value != nil {
			t.Fatalf("GetBatch: %+v, %v", found[i], err)
		}
	}
	if !errors.Is(errs[3*getWindow-1], errs[getWindow]) { // each question has an error of its own
		t.Error("GetBatch goes on asking a server that does not answer")
	}
	server.kill() // or Close would wait for an answer
}

// TestStatsSilent: counts do not wait for a server that does not answer.
func TestStatsSilent(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{Timeout: time.Hour, counting: defaultCounting})
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	want, err := s.count(context.Background(), 0)
	if err != nil || want.Keys != 1 {
		t.Fatalf("count = %+v, %v", want, err)
	}
	until(t, "there is an answer", func() bool { return s.Stats(0) == want })
	server.command(t, "CLIENT", "PAUSE", "3600000", "ALL")
	if got := s.Stats(0); got != want { // it hangs where nothing bounds it
		t.Errorf("Stats of a server that does not answer are %+v, not the last %+v", got, want)
	}
	server.kill() // or Close would wait for an answer
}

// TestScanEmptied: a scan under which the server loses its entries fails, and
// does not look as if there were no more.
func TestScanEmptied(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{Partitions: 1})
	entries := make([]kv.Entry, 2*firstPage)
	for i := range entries {
		entries[i] = kv.Entry{Key: fmt.Appendf(nil, "%03d", i), Version: at(1)}
	}
	put(t, s, entries...)
	visited := 0
	err := s.Scan(context.Background(), 0, nil, func(*kv.Entry) bool {
		if visited++; visited == 1 {
			server.command(t, "FLUSHALL")
		}
		return true
	})
	if visited != firstPage || !errors.Is(err, kv.ErrLost) {
		t.Errorf("after %d of %d entries, Scan = %v", visited, len(entries), err)
	}
}

// TestUnready: what a server says that cannot do its work just now is not an
// answer about the key.
func TestUnready(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{})
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server.command(t, "REPLICAOF", "127.0.0.1", port) // READONLY from now on
	if err := s.Apply(context.Background(), []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Apply to a replica: %v", err)
	}
	server.command(t, "REPLICAOF", "NO", "ONE")
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(3)})
}

// TestClusterMoves moves slots of a Cluster to another node, then kills one,
// under load.
func TestClusterMoves(t *testing.T) {
	t.Parallel()
	needRedis(t)
	nodes, err := startCluster("--appendonly", "yes", "--appendfsync", "always", "--cluster-require-full-coverage", "no",
		"--cluster-node-timeout", "2000")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		t.Cleanup(node.end)
	}
	s := open(t, nodes[0].url()+","+nodes[1].addr, Options{})
	l := startLoad(t, s, 200*time.Millisecond)
	l.more(t)
	for _, group := range s.layout.groups[:12] { // of the first third, which the first node has
		moveSlot(t, int(crc16(0, tagOf(group)))%slots, nodes[0], nodes[1])
	}
	l.more(t)
	nodes[1].kill()
	l.fails(t)
	if err := nodes[1].start(); err != nil {
		t.Fatal(err)
	}
	l.more(t)
	l.stop(t)
	var errs [2]error
	s.GetBatch(context.Background(), [][]byte{[]byte("w0"), []byte("nothing")}, make([]kv.Entry, 2), errs[:])
	if errs[0] != nil || !errors.Is(errs[1], kv.ErrNotFound) {
		t.Errorf("GetBatch: %v", errs)
	}
}

// tagOf returns the hash tag of a key.
func tagOf(key string) string {
	_, tag, _ := strings.Cut(key, "{")
	tag, _, _ = strings.Cut(tag, "}")
	return tag
}

// moveSlot moves a slot of a Cluster as redis-cli does.
func moveSlot(t *testing.T, slot int, from, to *server) {
	t.Helper()
	fromID, toID := from.command(t, "CLUSTER", "MYID").Val(), to.command(t, "CLUSTER", "MYID").Val()
	to.command(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.command(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := strings.Cut(to.addr, ":")
	for {
		keys, err := from.command(t, "CLUSTER", "GETKEYSINSLOT", slot, 100).Slice()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		for _, key := range keys { // one by one, so that scripts meet a slot that is half here and half there
			from.command(t, "MIGRATE", host, port, key, 0, 5000)
		}
	}
	to.command(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	from.command(t, "CLUSTER", "SETSLOT", slot, "NODE", toID)
}

// TestRetry: what passes is tried again, a few times and not beyond the
// deadline; what does not pass is not.
func TestRetry(t *testing.T) {
	t.Parallel()
	s := &Store{}
	soon, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		errs  []error // of each try
		tries int
		fails bool
	}{
		"well":           {context.Background(), []error{nil}, 1, false},
		"lost twice":     {context.Background(), []error{io.EOF, redisError("LOADING"), nil}, 3, false},
		"lost for good":  {context.Background(), slices.Repeat([]error{io.EOF}, 99), tries, true},
		"refused":        {context.Background(), []error{redisError("NOPERM"), nil}, 1, true},
		"not found":      {context.Background(), []error{redis.Nil, nil}, 1, true},
		"soon no use":    {soon, []error{io.EOF, nil}, 1, true},
		"lost, then not": {context.Background(), []error{io.ErrUnexpectedEOF, kv.ErrCorrupt, nil}, 2, true},
	} {
		n := 0
		err := s.retry(c.ctx, func(context.Context) error {
			n++
			return c.errs[n-1]
		})
		if n != c.tries || (err != nil) != c.fails || !errors.Is(err, c.errs[n-1]) {
			t.Errorf("%s: %d tries, %v", name, n, err)
		}
	}
}

// TestPasses holds which answers are worth another try.
func TestPasses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":    true,
		"READONLY You can't write against a read only":      true,
		"CLUSTERDOWN The cluster is down":                   true,
		"TRYAGAIN Multiple keys request during rehashing":   true,
		"ERR max number of clients reached":                 true,
		"MISCONF Redis is configured to save RDB":           true,
		"OOM command not allowed":                           false,
		"NOAUTH Authentication required.":                   false,
		"ERR unknown command":                               false,
		"WRONGTYPE Operation against a key holding":         false,
		"NOSCRIPT No matching script. Please use EVAL.":     false,
		"MOVED 3999 127.0.0.1:6381":                         true,
		"BUSY Redis is busy running a script. You can only": true,
	} {
		if got := passes(redisError(text)); got != want {
			t.Errorf("passes(%q) = %v", text, got)
		}
	}
	if passes(redis.Nil) || passes(kv.ErrFull) || passes(nil) {
		t.Error("what is no fault of the server is tried again")
	}
}

// redisError is what a server answers.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}
