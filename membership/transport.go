package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/memberlist"
)

// transport carries memberlist's packets by UDP and its streams by TCP, on one
// port of one address or of all. memberlist's own is not used because it opens
// its sockets and starts its goroutines together, cannot give up a dial, and
// binds every interface when it is given a name.
type transport struct {
	log       hclog.Logger
	tcp       *net.TCPListener
	udp       *net.UDPConn
	advertise netip.AddrPort
	gate      gate
	lose      func(addr string, packet bool) bool // nil, but in tests

	packets chan *memberlist.Packet
	streams chan net.Conn
	ctx     context.Context // of dials and of streams dialed
	hangUp  context.CancelFunc
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// gate decides who may pass. Its functions are called by many goroutines.
type gate struct {
	cluster func() string              // this node's
	refused func(cluster, addr string) // contact with a node of another one
	heard   func(name string)          // a sign of life of a node that was dialed by name
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen opens the sockets that cfg names. Nothing is read from them before
// start.
func listen(cfg *Config, log hclog.Logger, gate gate) (*transport, error) {
	host, service, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("bad port %q", service)
	}
	bound := netip.IPv4Unspecified()
	if host != "" {
		if bound, err = resolveOne(host); err != nil {
			return nil, err
		}
	}
	t := &transport{
		log:     log,
		gate:    gate,
		lose:    cfg.lose,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		closed:  make(chan struct{}),
	}
	t.ctx, t.hangUp = context.WithCancel(context.Background())
	if t.tcp, t.udp, err = bind(netip.AddrPortFrom(bound, uint16(port))); err != nil {
		return nil, err
	}
	actual := t.tcp.Addr().(*net.TCPAddr).AddrPort().Port()
	ip, err := advertised(cfg.Advertise, bound)
	if err != nil {
		return nil, errors.Join(err, t.tcp.Close(), t.udp.Close())
	}
	t.advertise = netip.AddrPortFrom(ip, actual)
	return t, nil
}

// bind opens TCP and UDP on one port. For port 0 it tries a few, since the one
// that is free for TCP may be taken for UDP.
func bind(addr netip.AddrPort) (*net.TCPListener, *net.UDPConn, error) {
	const tries = 10
	for try := 1; ; try++ {
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return nil, nil, err
		}
		port := tcp.Addr().(*net.TCPAddr).AddrPort().Port()
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr(), port)))
		if err == nil {
			return tcp, udp, nil
		}
		err = errors.Join(err, tcp.Close())
		if addr.Port() != 0 || try == tries {
			return nil, nil, err
		}
	}
}

// advertised returns the address that others are told.
func advertised(host string, bound netip.Addr) (netip.Addr, error) {
	if host != "" {
		return resolveOne(host)
	}
	if !bound.IsUnspecified() {
		return bound, nil
	}
	text, err := sockaddr.GetPrivateIP()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find a private IP to advertise: %w", err)
	}
	if text == "" {
		return netip.Addr{}, errors.New("no private IP found: say which address to advertise")
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("private IP: %w", err)
	}
	return ip, nil
}

// resolveOne returns the IP that host is or stands for, IPv4 before IPv6.
func resolveOne(host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%s has no address", host)
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return ips[0], nil
}

// start begins to receive.
func (t *transport) start() {
	t.running.Go(t.accept)
	t.running.Go(t.receive)
}

// accept hands over streams until the listener is closed.
func (t *transport) accept() {
	var pause time.Duration
	for {
		conn, err := t.tcp.Accept()
		if err != nil {
			// Out of file descriptors, say: it may get better.
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			select {
			case <-t.closed:
				return
			case <-time.After(pause):
			}
			t.log.Warn("accept", "error", err)
			continue
		}
		pause = 0
		select {
		case t.streams <- t.stamped(conn, conn.RemoteAddr().String(), ""):
		case <-t.closed:
			_ = conn.Close() // nobody is left to serve it
			return
		}
	}
}

// receive hands over packets until the socket is closed.
func (t *transport) receive() {
	buf := make([]byte, 65536)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		now := time.Now()
		select {
		case <-t.closed:
			return
		default:
		}
		if err != nil {
			t.log.Debug("receive", "error", err)
			continue
		}
		cluster, body, err := cutStamp(buf[:n])
		if err != nil || len(body) == 0 {
			t.log.Debug("packet dropped", "from", from, "error", err)
			continue
		}
		if foreign(cluster, t.gate.cluster()) {
			t.gate.refused(cluster, from.String())
			continue
		}
		packet := &memberlist.Packet{
			Buf:       append([]byte(nil), body...), // memberlist keeps it
			From:      net.UDPAddrFromAddrPort(from),
			Timestamp: now,
		}
		select {
		case t.packets <- packet:
		case <-t.closed:
			return
		}
	}
}

// Shutdown implements memberlist.Transport: it closes the sockets and waits
// for what start began. It may be called more than once.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		t.hangUp()
		close(t.closed)
		_ = t.tcp.Close() // all that was to be read is lost anyway
		_ = t.udp.Close()
	})
	t.running.Wait()
	return nil
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(body []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if t.lose != nil && t.lose(addr, true) {
		return time.Now(), nil
	}
	packet := appendStamp(make([]byte, 0, stampHead+maxCluster+len(body)), t.gate.cluster())
	_, err = t.udp.WriteToUDPAddrPort(append(packet, body...), to)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(body []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(body, addr.Addr)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// errLost is what a dial that a test wants lost ends with.
var errLost = errors.New("connection lost by the test")

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.lose != nil && t.lose(to.Addr, false) {
		return nil, errLost
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(t.ctx, "tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	s := t.stamped(conn, to.Addr, to.Name)
	s.stop = context.AfterFunc(t.ctx, func() { _ = conn.Close() })
	return s, nil
}

// stamped returns conn with stamps in both directions. name is that of the
// node dialed, where it is known.
func (t *transport) stamped(conn net.Conn, addr, name string) *stampedConn {
	return &stampedConn{Conn: conn, gate: &t.gate, addr: addr, name: name}
}

// stampedConn is a stream whose two directions begin with a stamp. It is read
// by one goroutine and written by one, as memberlist does.
type stampedConn struct {
	net.Conn
	gate       *gate
	addr, name string
	stop       func() bool // nil where it was accepted
	began      bool        // the stamp was written
	checked    bool        // the other's stamp was read
	err        error       // what was wrong with it
}

// Write implements net.Conn.
func (c *stampedConn) Write(body []byte) (int, error) {
	if c.began {
		return c.Conn.Write(body)
	}
	c.began = true
	stamp := appendStamp(make([]byte, 0, stampHead+maxCluster+len(body)), c.gate.cluster())
	n, err := c.Conn.Write(append(stamp, body...))
	return max(0, n-len(stamp)), err
}

// Read implements net.Conn. Its error is ErrForeign on a stream from another
// cluster.
func (c *stampedConn) Read(buf []byte) (int, error) {
	if !c.checked {
		c.checked = true
		c.err = c.check()
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(buf)
}

func (c *stampedConn) check() error {
	theirs, err := readStamp(c.Conn)
	if err != nil {
		return err
	}
	if ours := c.gate.cluster(); foreign(theirs, ours) {
		c.gate.refused(theirs, c.addr)
		// memberlist hangs up without a word, and the other side would not know
		// why. It loses nothing but that when this fails.
		_, _ = c.Write(nil)
		return fmt.Errorf("%s belongs to cluster %q, this node to %q: %w", c.addr, theirs, ours, ErrForeign)
	}
	if c.name != "" {
		c.gate.heard(c.name)
	}
	return nil
}

// Close implements net.Conn.
func (c *stampedConn) Close() error {
	if c.stop != nil {
		c.stop()
	}
	return c.Conn.Close()
}
