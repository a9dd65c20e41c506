package memcachekv

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// openFails fails the test unless a store cannot be opened, for what its error
// names.
func openFails(t *testing.T, opts Options, addrs []string, wants ...string) {
	t.Helper()
	if opts.Patience == 0 {
		opts.Patience = 20 * time.Second
	}
	st, err := Open(context.Background(), urlOf(addrs...), opts)
	if err == nil {
		st.Close()
		t.Fatalf("Open of %v has no error, want %q", addrs, wants)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Open of %v: %v, want %q", addrs, err, want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	openFails(t, Options{Patience: 200 * time.Millisecond}, []string{addr}, addr, "refused")
	up := sharedServers(t, 1)[0]
	ns := unique()
	openFails(t, Options{Patience: 200 * time.Millisecond, Namespace: ns}, []string{up, addr}, addr, "refused")
	open(t, Options{Namespace: ns}, up) // no lease and no record is left there
}

// TestSilent opens a store in a server that never answers.
func TestSilent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	openFails(t, Options{Patience: 200 * time.Millisecond}, []string{addr}, addr, "timeout")
}

func TestNotMemcached(t *testing.T) {
	t.Parallel()
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		addr := server.Listener.Addr().String()
		openFails(t, Options{}, []string{addr}, addr, "no Memcached", "HTTP/1.1 400")
	})
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		path, err := exec.LookPath("redis-server")
		if err != nil {
			missing(t, "redis-server", "redis-server")
		}
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		openFails(t, Options{}, []string{addr}, addr, "no Memcached", "-ERR") // it waits for it to start
	})
}

// TestUnsuitable opens stores in servers that were started in ways which do
// not do.
func TestUnsuitable(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, []byte("user:password\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"without cas": {[]string{"-C"}, "without cas (-C)"},
		"small items": {[]string{"-I", "64k", "-o", "slab_chunk_max=32"}, "start it with -I 128k or more"},
		"a password":  {[]string{"-Y", passwords, "-u", "root"}, "it asks for a password (-Y)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mc := startMemcached(t, c.args...)
			openFails(t, Options{}, []string{mc.addr}, mc.addr, c.want)
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want settings
	}{
		{nil, settings{maxItem: 1 << 20, evicts: true, cas: true}},
		{[]string{"-M", "-I", "2m"}, settings{maxItem: 2 << 20, evicts: false, cas: true}},
	} {
		mc := startMemcached(t, c.args...)
		got, err := probe(context.Background(), mc.addr, time.Second)
		if got.version == "" {
			t.Error("it has no version")
		}
		got.version = ""
		if err != nil || got != c.want {
			t.Errorf("the settings of memcached %v are %+v, %v, want %+v", c.args, got, err, c.want)
		}
	}
}

// TestLog: what does not work is said when a store opens.
func TestLog(t *testing.T) {
	t.Parallel()
	evicts, full := startMemcached(t), startMemcached(t, "-M")
	for _, c := range []struct {
		addrs []string
		want  string
	}{
		{[]string{evicts.addr}, `evicts=yes`},
		{[]string{full.addr}, `evicts="no (-M)`},
		{[]string{evicts.addr, full.addr}, `evicts="by ` + evicts.addr + `"`},
	} {
		var log bytes.Buffer
		open(t, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})}, c.addrs...).Close()
		line, more, _ := strings.Cut(log.String(), "\n")
		for _, want := range []string{"[WARN]", "no listing, export, snapshot, hand-over, repair or counts", c.want} {
			if !strings.Contains(line, want) || more != "" {
				t.Errorf("it logs %s%s, want one line with %s", line, more, want)
			}
		}
	}
}
