package rediskv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// What tests that do it no harm share: one server, and one Cluster of three.
var (
	sharedServer  = sync.OnceValues(func() (*server, error) { return startServer() })
	sharedCluster = sync.OnceValues(func() ([]*server, error) { return startCluster() })
	running       sync.Map // *server: those that TestMain is to end
	namespaces    atomic.Int64
)

func TestMain(m *testing.M) {
	// A client that often could not connect tries again every second, and looks
	// only then whether it was closed.
	dials := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
	goleak.VerifyTestMain(m, dials, goleak.Cleanup(func(code int) {
		running.Range(func(s, _ any) bool {
			s.(*server).end()
			return true
		})
		os.Exit(code)
	}))
}

// server is a redis-server on this machine.
type server struct {
	addr string
	dir  string
	args []string
	mu   sync.Mutex // guards cmd
	cmd  *exec.Cmd  // nil while it does not run
}

// startServer starts a server that keeps nothing on disk, unless args say
// otherwise.
func startServer(args ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "rediskv")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	running.Store(s, nil)
	for range 5 { // somebody else may take the port first
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s.addr = net.JoinHostPort("127.0.0.1", port)
		s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--logfile", "log"}, args...)
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("redis-server does not start; its log is in %s", dir)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// start starts the server, also again, and waits until it answers.
func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command("redis-server", s.args...)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	client := s.client()
	defer client.Close()
	return eventually(func() error { return client.Ping(context.Background()).Err() })
}

// kill ends the server as a crash does.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) end() {
	s.kill()
	_ = os.RemoveAll(s.dir)
	running.Delete(s)
}

func (s *server) url() string { return "redis://" + s.addr }

func (s *server) client() *redis.Client { return redis.NewClient(&redis.Options{Addr: s.addr}) }

// command does to the server what a test wants to have done to it.
func (s *server) command(t testing.TB, args ...any) *redis.Cmd {
	t.Helper()
	client := s.client()
	defer client.Close()
	cmd := client.Do(context.Background(), args...)
	if cmd.Err() != nil {
		t.Fatalf("%v: %v", args, cmd.Err())
	}
	return cmd
}

// eventually waits until check returns nil, and returns its error where it does
// not within 20 s.
func eventually(check func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil || !wait(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

// startCluster starts a Redis Cluster of three and waits until each of them
// says that it is complete.
func startCluster(args ...string) ([]*server, error) {
	var nodes []*server
	var addrs []string
	for range 3 {
		bus, err := freePort()
		if err != nil {
			return nil, err
		}
		s, err := startServer(append(args, "--cluster-enabled", "yes", "--cluster-port", bus)...)
		if err != nil {
			return nil, err
		}
		nodes, addrs = append(nodes, s), append(addrs, s.addr)
	}
	create := append([]string{"--cluster", "create"}, addrs...)
	if out, err := exec.Command("redis-cli", append(create, "--cluster-yes")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("redis-cli --cluster create: %w: %s", err, out)
	}
	for _, node := range nodes {
		client := node.client()
		defer client.Close()
		err := eventually(func() error {
			info, err := client.ClusterInfo(context.Background()).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				return fmt.Errorf("the cluster is not complete: %s", info)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// needRedis ends the test where there is no redis-server.
func needRedis(t testing.TB) {
	t.Helper()
	_, err1 := exec.LookPath("redis-server")
	_, err2 := exec.LookPath("redis-cli")
	if err := errors.Join(err1, err2); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no redis-server and redis-cli (Debian's package redis-server)")
	}
}

// commonServer returns the server that tests share.
func commonServer(t testing.TB) *server {
	t.Helper()
	needRedis(t)
	s, err := sharedServer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// commonCluster returns the URL of the Cluster that tests share.
func commonCluster(t testing.TB) string {
	t.Helper()
	needRedis(t)
	nodes, err := sharedCluster()
	if err != nil {
		t.Fatal(err)
	}
	return "redis://" + nodes[0].addr + "," + nodes[1].addr + "," + nodes[2].addr
}

// newServer starts a server for a test that does harm to it.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	needRedis(t)
	s, err := startServer(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// newNamespace returns a name that no other store has, and that is unpleasant.
func newNamespace() string {
	return fmt.Sprintf("node{%d}:/%%\x00ü", namespaces.Add(1))
}

// open opens a store that is closed when the test ends. Unless a test says so,
// Stats is as patient as the machine is slow.
func open(t testing.TB, url string, opts Options) *Store {
	t.Helper()
	if opts.Namespace == "" {
		opts.Namespace = newNamespace()
	}
	if opts.counting == 0 {
		opts.counting = time.Minute
	}
	s, err := Open(context.Background(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
