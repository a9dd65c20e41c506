package nodetest

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// SeedVariable is the environment variable that gives the seed of runs that
// have none of their own, so that one that failed can be replayed.
const SeedVariable = "NODETEST_SEED"

// Options describes a cluster. The zero value of a field means its default.
type Options struct {
	Nodes    []string // that are started at once; the first one to start may found the cluster
	Replicas int      // of each key: 3
	// Seed decides all that is random. 0 means the one in SeedVariable, or a
	// new one.
	Seed       uint64
	Partitions int           // 64
	Timeout    time.Duration // of an operation, for its client and its node: 5 s
	Detect     time.Duration // until gossip calls down what is out of reach: 3 s
	// RepairEvery is how often replicas are compared: the node's default.
	RepairEvery time.Duration
	// Grace is how long tombstones are kept: the node's default.
	Grace time.Duration
	// FoundingWait is how long the founder looks for a cluster first: 0.
	FoundingWait time.Duration
	Patience     time.Duration // how long anything is waited for: 2 min
	// Transit is what the network does to what it delivers: half a millisecond's
	// delay, and as much jitter.
	Transit *Transit
	// Forgetful makes the stores not durable: what a node holds ends with its
	// process.
	Forgetful bool
	// Log shows what nodes log at Info and above where the test fails or is
	// verbose.
	Log bool
}

func (o Options) withDefaults() Options {
	o.Replicas = cmp.Or(o.Replicas, 3)
	if o.Seed == 0 {
		o.Seed, _ = strconv.ParseUint(os.Getenv(SeedVariable), 0, 64)
	}
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	o.Partitions = cmp.Or(o.Partitions, 64)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.Detect = cmp.Or(o.Detect, 3*time.Second)
	o.Patience = cmp.Or(o.Patience, 2*time.Minute)
	if o.Transit == nil {
		o.Transit = &Transit{Delay: 500 * time.Microsecond, Jitter: 500 * time.Microsecond}
	}
	return o
}

// Cluster is a cluster in this process. Its methods are safe for concurrent
// use, but for those that start and end nodes: they are for the goroutine of
// the test. A method that is given a name which never started fails the test.
type Cluster struct {
	t       testing.TB
	opts    Options
	founder string // who started first, and may found the cluster
	net     *Network
	gossip  *gossip
	running sync.WaitGroup // gossip, and the lives of all nodes
	ledger  *Ledger

	mu      sync.Mutex // guards what follows
	lives   map[string]*life
	stores  map[string]*kv.Memory
	clocks  map[string]*Clock
	fails   map[string]error
	members map[string]bool // who is to be in the ring
	boots   uint64
	loads   uint64
}

// New starts a cluster and waits until it is settled. It ends with the test,
// which prints the seed if it fails.
func New(t testing.TB, opts Options) *Cluster {
	t.Helper()
	opts = opts.withDefaults()
	c := &Cluster{
		t: t, opts: opts, net: NewNetwork(opts.Seed), ledger: newLedger(),
		lives:   make(map[string]*life),
		stores:  make(map[string]*kv.Memory),
		clocks:  make(map[string]*Clock),
		fails:   make(map[string]error),
		members: make(map[string]bool),
	}
	c.net.TransitAll(*opts.Transit)
	c.gossip = newGossip(c.net, opts.Detect, opts.Seed)
	ctx, cancel := context.WithCancel(context.Background())
	c.running.Go(func() { c.gossip.run(ctx) })
	t.Cleanup(func() {
		c.end()
		cancel()
		c.running.Wait()
		if t.Failed() {
			t.Logf("to replay: %s=%d", SeedVariable, opts.Seed)
		}
	})
	for _, name := range opts.Nodes {
		c.Start(name)
	}
	if len(opts.Nodes) > 0 {
		c.AwaitSettled()
	}
	return c
}

// Seed returns the seed of this run.
func (c *Cluster) Seed() uint64 { return c.opts.Seed }

// Network returns the network, for faults beyond those of this type.
func (c *Cluster) Network() *Network { return c.net }

// Ledger returns what clients of [Cluster.Load] were told.
func (c *Cluster) Ledger() *Ledger { return c.ledger }

// Node returns the node of the last process of that name.
func (c *Cluster) Node(name string) *node.Node { return c.life(name).node }

// Store returns the store of a node, which outlives its processes. It must not
// be closed.
func (c *Cluster) Store(name string) *kv.Memory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stores[name]
}

// Clock returns the wall clock of a node's machine.
func (c *Cluster) Clock(name string) *Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.clocks[name]
	if at == nil {
		at = &Clock{}
		c.clocks[name] = at
	}
	return at
}

// Live returns the names of the nodes that run and are not paused, sorted.
func (c *Cluster) Live() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for name, l := range c.lives {
		if l.clients.Err() == nil && !c.net.Paused(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Members returns the names of the nodes that are to be in the ring, sorted.
func (c *Cluster) Members() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for name, is := range c.members {
		if is {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// FailStore makes a node's store refuse to apply anything, with err, as a full
// disk does. nil ends that.
func (c *Cluster) FailStore(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails[name] = err
}

func (c *Cluster) failing(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fails[name]
}

// logger returns the logger of a node.
func (c *Cluster) logger(name string) hclog.Logger {
	if !c.opts.Log {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: name, Level: hclog.Info, Output: testLog{c.t}, DisableTime: true,
	})
}

// testLog writes lines to a test's log.
type testLog struct{ t testing.TB }

// Write implements io.Writer.
func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s %s", time.Now().Format("15:04:05.000"), line)
	return len(line), nil
}
