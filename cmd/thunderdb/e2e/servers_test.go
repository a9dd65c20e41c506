package e2e

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// backing is a store that a node may have.
type backing struct {
	name string
	// flags makes what the store needs and returns the flags that choose it.
	flags func(t testing.TB) []string
	// lasts says that entries outlive the node's process.
	lasts bool
	// lists says that the store can list its keys.
	lists bool
}

// backings returns the four kinds of store.
func backings() []backing {
	return []backing{
		{"memory", func(testing.TB) []string { return nil }, false, true},
		{"disk", func(t testing.TB) []string { return onDisk(t.TempDir()) }, true, true},
		{"redis", func(t testing.TB) []string {
			return []string{"--store", "redis://" + startServer(t, redisServer()).addr}
		}, true, true},
		{"memcached", func(t testing.TB) []string {
			return []string{"--store", "memcached://" + startServer(t, memcachedServer()).addr}
		}, true, false},
	}
}

func onDisk(dir string) []string { return []string{"--store", "disk:" + filepath.Join(dir, "data")} }

// serverKind is a server that stores are kept in.
type serverKind struct {
	program     string
	args        func(port, dir string) []string
	ping, reply string
}

func redisServer() serverKind {
	return serverKind{"redis-server", func(port, dir string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}
	}, "PING\r\n", "+PONG"}
}

func memcachedServer() serverKind {
	return serverKind{"memcached", func(port, _ string) []string {
		return []string{"-p", port, "-U", "0", "-l", "127.0.0.1", "-m", "512", "-u", "root"}
	}, "version\r\n", "VERSION"}
}

// server is a process that stores are kept in.
type server struct {
	addr, port string
	pid        int
}

// startServer starts a server that ends with the test.
func startServer(t testing.TB, kind serverKind) *server {
	t.Helper()
	need(t, kind.program)
	port := freePort(t)
	dir, err := os.MkdirTemp("", kind.program)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(kind.program, kind.args(port, dir)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed", as meant
		_ = os.RemoveAll(dir)
	})
	s := &server{net.JoinHostPort("127.0.0.1", port), port, cmd.Process.Pid}
	await(t, 10*time.Second, func() error { return ping(s.addr, kind) })
	return s
}

func ping(addr string, kind serverKind) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, kind.ping); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err == nil && !strings.HasPrefix(string(answer[:n]), kind.reply) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
