package memcachekv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/kv"
)

// shared is the servers that tests use which do nothing to them.
var shared struct {
	mu      sync.Mutex // guards running
	running []*memcached
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, mc := range shared.running {
		mc.kill()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// sharedServers returns the first count of the shared servers' addresses.
func sharedServers(t testing.TB, count int) []string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	var addrs []string
	for i := range count {
		if i == len(shared.running) {
			mc := newMemcached(t, "-m", "2048")
			mc.start(t)
			shared.running = append(shared.running, mc)
		}
		addrs = append(addrs, shared.running[i].addr)
	}
	return addrs
}

// memcached is a server process, which can be started again at its address.
type memcached struct {
	addr string
	args []string
	cmd  *exec.Cmd

	exited  chan struct{} // closed when cmd has
	started bool          // once, so that addr stays
}

// newMemcached returns a server that start starts, with more arguments.
func newMemcached(t testing.TB, args ...string) *memcached {
	t.Helper()
	path, err := exec.LookPath("memcached")
	if err != nil {
		missing(t, "memcached", "memcached")
	}
	return &memcached{addr: freeAddr(t), args: append([]string{path, "-u", "nobody", "-U", "0"}, args...)}
}

// startMemcached starts a server of the test's own.
func startMemcached(t testing.TB, args ...string) *memcached {
	t.Helper()
	mc := newMemcached(t, args...)
	mc.start(t)
	t.Cleanup(mc.kill)
	return mc
}

// pause stops the process, and returns when all its threads stand still.
func (mc *memcached) pause(t testing.TB) {
	t.Helper()
	if err := mc.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server stands still", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", mc.cmd.Process.Pid))
		for _, task := range tasks {
			stat, rerr := os.ReadFile(task)
			if _, state, _ := strings.Cut(string(stat), ") "); rerr != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return err == nil
	})
}

// missing skips a test whose server is not installed, but fails it in CI.
func missing(t testing.TB, name, debian string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: apt-get install %s", name, debian)
	}
	t.Skipf("%s is not installed: apt-get install %s", name, debian)
}

// freeAddr returns an address that nobody listens at. It is below the ports
// that connections are given, so that none has it while a server is restarted.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 12_000+mathrand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts the process, and waits until it answers. A new one goes to
// another address where somebody else was faster to listen at its own.
func (mc *memcached) start(t testing.TB) {
	t.Helper()
	for range 5 {
		host, port, _ := net.SplitHostPort(mc.addr)
		mc.cmd = exec.Command(mc.args[0], append(mc.args[1:], "-l", host, "-p", port)...)
		if err := mc.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		exited := make(chan struct{})
		go func(cmd *exec.Cmd) {
			_ = cmd.Wait()
			cancel()
			close(exited)
		}(mc.cmd)
		mc.exited = exited
		_, err := probe(ctx, mc.addr, time.Second)
		if ctx.Err() == nil && (err == nil || errors.Is(err, errNotMemcached)) {
			mc.started = true
			return
		}
		mc.kill()
		if !mc.started {
			mc.addr = freeAddr(t)
		}
	}
	t.Fatalf("memcached %q does not start", mc.args)
}

// kill ends the process as kill -9 does, and waits for it.
func (mc *memcached) kill() {
	if mc.cmd != nil {
		_ = mc.cmd.Process.Kill()
		<-mc.exited
		mc.cmd = nil
	}
}

func urlOf(addrs ...string) string { return scheme + strings.Join(addrs, ",") }

// unique returns a namespace that no other test has.
func unique() string { return "test " + rand.Text() }

// open opens a store, of a namespace of its own unless opts says otherwise, and
// closes it when the test ends.
func open(t testing.TB, opts Options, addrs ...string) *Store {
	t.Helper()
	if opts.Namespace == "" {
		opts.Namespace = unique()
	}
	st, err := Open(context.Background(), urlOf(addrs...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// at returns a version that is n after some moment.
func at(n int) kv.Version { return kv.Version{Time: 1<<40 + uint64(n), Node: 1} }

func entry(key string, n int) kv.Entry {
	return kv.Entry{Key: []byte(key), Value: fmt.Appendf(nil, "%s=%d", key, n), Version: at(n), ContentType: "text/plain"}
}

func put(t testing.TB, st *Store, entries ...kv.Entry) {
	t.Helper()
	if err := st.Apply(context.Background(), entries, nil); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until what becomes true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come that %s", what)
		}
	}
}

// expect fails the test where the store does not hold want.
func expect(t testing.TB, st *Store, want kv.Entry) {
	t.Helper()
	got, err := st.Get(context.Background(), want.Key, nil)
	if err != nil || string(got.Value) != string(want.Value) || got.Version != want.Version || got.Deleted != want.Deleted {
		t.Errorf("Get(%.20q) = %.40q of version %v, %v, want %.40q of %v", want.Key, got.Value, got.Version, err, want.Value, want.Version)
	}
}

func expectNone(t testing.TB, st *Store, key string) {
	t.Helper()
	if got, err := st.Get(context.Background(), []byte(key), nil); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("Get(%.20q) = %.40q, %v, want ErrNotFound", key, got.Value, err)
	}
}
