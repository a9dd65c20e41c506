package membership

import (
	"net"
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
