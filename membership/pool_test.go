package membership

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// fast is the timing of tests: a killed node is down after about a second.
var fast = Timing{
	Probe:    100 * time.Millisecond,
	Gossip:   10 * time.Millisecond,
	PushPull: 200 * time.Millisecond,
	Stream:   time.Second,
	Dead:     300 * time.Millisecond,
	Join:     20 * time.Millisecond,
	Rejoin:   50 * time.Millisecond,
	Silence:  200 * time.Millisecond,
	Identify: time.Second,
}

// lab is a network that a test can cut. A node is on the island of its
// address, 0 at first, and reaches nobody on another one.
type lab struct {
	mu      sync.Mutex // guards islands, dials
	islands map[string]int
	dials   map[string]int // connections lost, by the address they were for
}

func newLab() *lab {
	return &lab{islands: make(map[string]int), dials: make(map[string]int)}
}

// move puts a node on an island.
func (l *lab) move(addr string, island int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.islands[addr] = island
}

// lost returns how many connections to addr were lost so far.
func (l *lab) lost(addr string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials[addr]
}

func (l *lab) lose(from, to string, packet bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := l.islands[from] != l.islands[to]
	if cut && !packet {
		l.dials[to]++
	}
	return cut
}

// testNode is a pool that runs.
type testNode struct {
	*Pool
	lab  *lab
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned
	err  error         // of Run, once done is closed
}

// start runs a pool on loopback until the test ends. edit, where it is not
// nil, changes the configuration.
func (l *lab) start(t *testing.T, name string, edit func(*Config)) *testNode {
	t.Helper()
	var own atomic.Pointer[Pool]
	cfg := Config{
		Name:   name,
		Listen: "127.0.0.1:0",
		Timing: fast,
		Facts:  Facts{HTTP: name + ":8080", Peer: name + ":7947", Weight: 1},
		lose: func(addr string, packet bool) bool {
			p := own.Load()
			return p != nil && l.lose(p.Addr(), addr, packet)
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	own.Store(p)
	ctx, cancel := context.WithCancel(context.Background())
	n := &testNode{Pool: p, lab: l, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(n.done)
		n.err = p.Run(ctx)
	}()
	t.Cleanup(n.leave)
	return n
}

// leave ends the node in good order.
func (n *testNode) leave() {
	n.stop()
	<-n.done
}

// kill ends the node without a word to the others.
func (n *testNode) kill() {
	n.lab.move(n.Addr(), -1)
	n.leave()
	n.lab.move(n.Addr(), 0)
}

// wait returns once the node's view is as wanted.
func (n *testNode) wait(t *testing.T, what string, wanted func(*View) bool) {
	t.Helper()
	changed, stop := n.Watch()
	defer stop()
	late := time.After(patience)
	for !wanted(n.View()) {
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s waits in vain for %s; it sees %s", n.cfg.Name, what, n.View())
		}
	}
}

// String makes failures readable.
func (v *View) String() string {
	out := ""
	for _, n := range v.nodes {
		out += fmt.Sprintf("%s=%s@%s ", n.Name, n.Status, n.Gossip)
	}
	return out
}

// sees waits until the node sees another one in a status, or not at all where
// that is "".
func (n *testNode) sees(t *testing.T, name string, want Status) {
	t.Helper()
	n.wait(t, fmt.Sprintf("%s to be %q", name, want), func(v *View) bool {
		other, _ := v.Find(name)
		return other.Status == want
	})
}

// freeAddr returns an address of ip that nobody listens on.
func freeAddr(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// seeAll waits until every node sees all of them up.
func seeAll(t *testing.T, nodes ...*testNode) {
	t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			name, addr := b.cfg.Name, b.Addr()
			a.wait(t, name+" to be up at "+addr, func(v *View) bool {
				n, ok := v.Find(name)
				return ok && n.Status != Down && n.Gossip == addr && n.Boot == b.cfg.Facts.Boot
			})
		}
	}
}

// until returns once something holds that no view shows.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain for " + what)
		}
	}
}

// finish returns the error of the node's Run once it has ended by itself.
func (n *testNode) finish(t *testing.T) error {
	t.Helper()
	select {
	case <-n.done:
	case <-time.After(patience):
		t.Fatalf("%s goes on", n.cfg.Name)
	}
	return n.err
}

// seeds and the like are edits of a configuration.
func seeds(addrs ...string) func(*Config) {
	return func(c *Config) { c.Seeds = addrs }
}

func edits(all ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, edit := range all {
			edit(c)
		}
	}
}

func member(c *Config) { c.Facts.Member = true }

func founder(c *Config) { c.Facts.Founding = true }

func at(addr string) func(*Config) {
	return func(c *Config) { c.Listen = addr }
}

func of(cluster string) func(*Config) {
	return func(c *Config) { c.Facts.Cluster = cluster }
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, line...)
	return len(line), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

// into logs to a journal.
func into(j *journal) func(*Config) {
	return func(c *Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Name: c.Name, Output: j, Level: hclog.Info})
	}
}
