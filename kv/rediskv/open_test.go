package rediskv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// refused opens a store and expects an error that has all of want in it.
func refused(t *testing.T, url string, opts Options, want ...string) {
	t.Helper()
	if opts.Namespace == "" {
		opts.Namespace = newNamespace()
	}
	s, err := Open(context.Background(), url, opts)
	if err == nil {
		s.Close()
		t.Fatalf("Open(%s) succeeds, want an error with %q", url, want)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Open(%s) = %v, want %q in it", url, err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("Open tells the password: %v", err)
	}
}

// listen returns the address of a server that answers a connection's first
// bytes with answer, and then waits until the client has had enough.
func listen(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadByte()
			_, _ = io.WriteString(conn, answer)
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestOpenNoServer(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	soon := Options{Patience: 500 * time.Millisecond}
	addr := net.JoinHostPort("127.0.0.1", port)
	refused(t, "redis://u:secret@"+addr, soon, addr, "given up after 500ms", "refused")
	refused(t, "redis://u:secret@"+addr+","+addr, soon, addr, "given up after 500ms", "refused")
	silent := listen(t, "")
	refused(t, "redis://u:secret@"+silent, soon, silent, "given up after 500ms", "does not answer")
}

func TestOpenNotRedis(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "ERROR\r\n", "220 mail.example.org ESMTP\r\n", "\x15\x03\x01\x00\x02\x02\x0a\r\n",
	} {
		addr := listen(t, answer)
		refused(t, "redis://:secret@"+addr, Options{}, addr, "does not speak the protocol of Redis")
		refused(t, "redis://:secret@"+addr+","+addr, Options{}, addr, "does not speak the protocol of Redis")
	}
	s := commonServer(t)
	refused(t, "rediss://"+s.addr, Options{Patience: 100 * time.Millisecond}, s.addr)
}

func TestOpenOptions(t *testing.T) {
	t.Parallel()
	if _, err := Open(context.Background(), "redis://h:1", Options{}); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("Open without a namespace: %v", err)
	}
	for _, opts := range []Options{{Partitions: -1}, {Patience: -1}, {Timeout: -1}} {
		refused(t, "redis://h:1", opts, "negative option")
	}
	refused(t, "redis://h", Options{}, "want host:port")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, "redis://127.0.0.1:1", Options{Namespace: "n"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that was cancelled: %v", err)
	}
}

func TestOpenPassword(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.command(t, "ACL", "SETUSER", "app", "on", ">secret", "+@all", "~*")
	s.command(t, "ACL", "SETUSER", "reader", "on", ">secret", "+@read", "+info", "~*")
	s.command(t, "ACL", "SETUSER", "modest", "on", ">secret", "+@all", "-info", "-config", "~thunderdb:*")
	open(t, "redis://app:secret@"+s.addr, Options{})
	open(t, "redis://modest:secret@"+s.addr, Options{})
	refused(t, "redis://app:secrets@"+s.addr, Options{}, "refuses this user", "WRONGPASS", s.addr)
	refused(t, "redis://reader:secret@"+s.addr, Options{}, "NOPERM", s.addr)
	s.command(t, "ACL", "SETUSER", "default", "off")
	refused(t, s.url(), Options{}, "refuses this user", "NOAUTH", s.addr)
}

func TestOpenMode(t *testing.T) {
	t.Parallel()
	alone, cluster := commonServer(t), commonCluster(t)
	one, _, _ := strings.Cut(cluster, ",")
	refused(t, one, Options{}, "part of a Redis Cluster")
	refused(t, alone.url()+","+alone.addr, Options{}, "not run in Cluster mode", alone.addr)
}

func TestOpenVersion(t *testing.T) {
	t.Parallel()
	s := &Store{target: &target{hosts: []string{"h:1"}}, log: hclog.NewNullLogger()}
	for version, ok := range map[string]bool{"6.2.14": false, "7.0.0": true, "7.2.4": true, "10.1": true, "": true} {
		if err := s.judgeInfo("# Server\r\nredis_version:"+version+"\r\nredis_mode:standalone\r\n", nil); (err == nil) != ok {
			t.Errorf("Redis %s: %v", version, err)
		}
	}
}

// TestOpenPolicy: a server that would evict entries is refused.
func TestOpenPolicy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for policy, ok := range map[string]bool{
		"noeviction": true, "volatile-lru": true, "volatile-ttl": true, "volatile-random": true,
		"allkeys-lru": false, "allkeys-lfu": false, "allkeys-random": false,
	} {
		s.command(t, "CONFIG", "SET", "maxmemory-policy", policy)
		if ok {
			open(t, s.url(), Options{})
		} else {
			refused(t, s.url(), Options{}, policy, "set maxmemory-policy noeviction")
		}
	}
}

// TestOpenPartitions: the number of partitions stays, and another is refused
// without harm.
func TestOpenPartitions(t *testing.T) {
	t.Parallel()
	for _, url := range []string{commonServer(t).url(), commonCluster(t)} {
		name := newNamespace()
		s := open(t, url, Options{Namespace: name, Partitions: 7})
		e := kv.Entry{Key: []byte("k"), Value: []byte("v"), Version: kv.Version{Time: 1}}
		if err := s.Apply(context.Background(), []kv.Entry{e}, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		refused(t, url, Options{Namespace: name}, "has 7 partitions, not 4096")
		refused(t, url, Options{Namespace: name, Partitions: 8}, "has 7 partitions, not 8")
		s = open(t, url, Options{Namespace: name, Partitions: 7})
		if got, err := s.Get(context.Background(), e.Key, nil); err != nil || string(got.Value) != "v" {
			t.Errorf("reopened, it has %+v, %v", got, err)
		}
	}
}

// TestOpenFormat: what this program does not know is refused.
func TestOpenFormat(t *testing.T) {
	t.Parallel()
	s := commonServer(t)
	client := s.client()
	defer client.Close()
	for format, want := range map[string]string{"2 4096 1": "format 2", "1 x": `format is "1 x"`, "1 4096 0": "format"} {
		name := newNamespace()
		if err := client.Set(context.Background(), newLayout(name, 1, 1).root+"format", format, 0).Err(); err != nil {
			t.Fatal(err)
		}
		refused(t, s.url(), Options{Namespace: name}, want)
	}
}

// TestOpenMoved: entries that a server wrote in one group, or a Cluster in many,
// are found where the other would have them elsewhere.
func TestOpenMoved(t *testing.T) {
	t.Parallel()
	s := commonServer(t)
	client := s.client()
	defer client.Close()
	name := newNamespace()
	if err := client.Set(context.Background(), newLayout(name, 1, 1).root+"format", format(4096, clusterGroups), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, s.url(), Options{Namespace: name}).layout.groups); got != clusterGroups {
		t.Errorf("it has %d groups", got)
	}
}

func TestClientName(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	open(t, s.url(), Options{Namespace: "no de\n1"})
	client := s.client()
	defer client.Close()
	list, err := client.ClientList(context.Background()).Result()
	if err != nil || !strings.Contains(list, "name=thunderdb-no-de-1 ") {
		t.Errorf("clients: %s, %v", list, err)
	}
}
