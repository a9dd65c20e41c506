package membership

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// send sends body to addr, and lets the other end hang up.
func send(t *testing.T, network, addr, body string) {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
}

// A name binds the one address that it stands for. (memberlist takes an IP,
// and binds every interface when it is given a name.)
func TestListenOnLocalhostOnly(t *testing.T) {
	t.Parallel()
	a := newLab().start(t, "a", at("localhost:0"))
	tcp := a.net.tcp.Addr().(*net.TCPAddr)
	udp := a.net.udp.LocalAddr().(*net.UDPAddr)
	if !tcp.IP.IsLoopback() || !udp.IP.IsLoopback() {
		t.Errorf("bound to %s and %s, want loopback", tcp, udp)
	}
	if a.Addr() != tcp.String() {
		t.Errorf("Addr %s, want %s", a.Addr(), tcp)
	}
}

func TestAdvertiseIsWhatOthersAreTold(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", func(c *Config) { c.Listen, c.Advertise = "0.0.0.0:0", "localhost" })
	b := lab.start(t, "b", seeds(a.Addr()))
	seeAll(t, a, b)
	if host, _, _ := net.SplitHostPort(a.Addr()); host != "127.0.0.1" {
		t.Errorf("Addr %s, want localhost's", a.Addr())
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	a := newLab().start(t, "a", nil)
	if _, err := New(Config{Name: "b", Listen: a.Addr()}); err == nil {
		t.Error("two nodes on one port")
	}
}

// A pool that is never run can be released all the same.
func TestCloseOfAPoolThatWasNotRun(t *testing.T) {
	t.Parallel()
	a, err := New(Config{Name: "a", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	b, err := New(Config{Name: "b", Listen: a.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b.Close()
}

func TestPeersFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "peers.json")
	if got, err := loadPeers(file); err != nil || len(got) != 0 {
		t.Errorf("no file: %v, %v", got, err)
	}
	if err := savePeers(file, []savedPeer{{"a", "10.0.0.1:7946"}, {"b", "bad"}, {"c", "[::1]:1"}}); err != nil {
		t.Fatal(err)
	}
	if err := savePeers(file, []savedPeer{{"a", "10.0.0.1:7946"}, {"b", "a:b:c"}}); err != nil {
		t.Fatal(err)
	}
	got, err := loadPeers(file)
	if want := map[string]string{"a": "10.0.0.1:7946"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %v, %v, want %v", got, err, want)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

// A torn file costs what it knew, and is put right.
func TestTornPeersFile(t *testing.T) {
	t.Parallel()
	lab := newLab()
	file := filepath.Join(t.TempDir(), "peers.json")
	if err := os.WriteFile(file, []byte(`[{"name": "a", "gos`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := lab.start(t, "a", nil)
	b := lab.start(t, "b", edits(seeds(a.Addr()), func(c *Config) { c.PeersFile = file }))
	seeAll(t, a, b)
	until(t, "a whole file", func() bool {
		saved, err := loadPeers(file)
		return err == nil && saved["a"] == a.Addr()
	})
}
