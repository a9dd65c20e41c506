package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// Config says who a node is. The zero value of a duration or count means its
// default.
type Config struct {
	Name string // unique in the cluster
	Boot uint64 // larger at each start, as gossip tells it
	// Founder, FoundingWait and Partitions: see topology.Config.
	Founder      bool
	FoundingWait time.Duration
	Partitions   int
	// Timeout bounds an operation whose context has no deadline: 10 s.
	Timeout time.Duration
	// Wall is the wall clock: time.Now.
	Wall func() time.Time
	// Dial connects to a peer's listener: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Node is one node. Its methods are safe for concurrent use.
type Node struct {
	cfg    Config
	id     uint64 // storage identity, in the stamps of writes that it coordinates
	logger hclog.Logger
	store  kv.Store
	lasts  bool // the store is kv.Durable
	evicts bool // the store is a kv.Evictor
	// batches is the store where it is one; else nil.
	batches kv.BatchGetter
	clock   *kv.Clock
	pool    topology.Pool
	peers   *peers
	keeper  *topology.Keeper
	locks   *keyLocks
	stats   statsCache

	stopping atomic.Bool // see Stopping
}

// New returns a node over a store and a gossip pool, which takes up what an
// earlier process of its name left in the store. Run starts it. The error is
// ErrForeignStore where the store is another node's, or one of reading or
// writing it.
func New(ctx context.Context, cfg Config, store kv.Store, pool topology.Pool, logger hclog.Logger) (*Node, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	meta, _ := store.(kv.Metadata)
	id, err := storageIdentity(ctx, meta, cfg.Name)
	if err != nil {
		return nil, err
	}
	durable, _ := store.(kv.Durable)
	batches, _ := store.(kv.BatchGetter)
	evictor, _ := store.(kv.Evictor)
	n := &Node{
		cfg: cfg, store: store, pool: pool, logger: logger,
		id:      id,
		lasts:   durable != nil && durable.Durable(),
		evicts:  evictor != nil && evictor.Evicts(),
		batches: batches,
		clock:   kv.NewClock(cfg.Wall),
		locks:   newKeyLocks(),
	}
	n.peers = newPeers(peer.ClientConfig{
		Self: n.identity(), Clock: n.clock, Logger: logger.Named("peer"), Dial: cfg.Dial,
	}, pool)
	n.keeper = topology.New(topology.Config{
		Name: cfg.Name, Founder: cfg.Founder, FoundingWait: cfg.FoundingWait, Partitions: cfg.Partitions,
	}, meta, pool, n.peers, n.clock, logger.Named("topology"))
	return n, n.keeper.Load(ctx)
}

func (n *Node) identity() peer.Identity {
	return peer.Identity{Name: n.cfg.Name, Boot: n.cfg.Boot, Cluster: n.cluster}
}

// cluster returns the identity of the cluster, "" while none is known.
func (n *Node) cluster() string {
	s := n.keeper.State()
	if s == nil {
		return ""
	}
	return s.Cluster()
}

// Run keeps the node in the ring, and serves its peers on l, until ctx ends.
func (n *Node) Run(ctx context.Context, l net.Listener) error {
	server := peer.NewServer(peer.ServerConfig{
		Self: n.identity(), Clock: n.clock, Logger: n.logger.Named("peer"),
	}, n)
	server.Answer(topology.Pull, n.keeper.AnswerPull)
	server.Answer(topology.Offer, n.keeper.AnswerOffer)
	server.Answer(statsQuestion, func(context.Context, json.RawMessage) (any, error) {
		return n.ownStats(), nil
	})
	// What is served until the end may need the other nodes.
	calling, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer hangUp()
		return server.Serve(ctx, l)
	})
	group.Go(func() error { return n.peers.run(calling) })
	group.Go(func() error { return n.keeper.Run(ctx) })
	group.Go(func() error { return n.sweep(ctx) })
	return group.Wait()
}

// Stopping makes the node not ready, for the process is about to end. It
// serves on until Run's context ends.
func (n *Node) Stopping() { n.stopping.Store(true) }

// Name returns the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// Ring returns the ring that the node routes by; nil while it knows none.
func (n *Node) Ring() *ring.Ring {
	s := n.keeper.State()
	if s == nil {
		return nil
	}
	return s.Ring
}

// HTTPAddr returns the host:port of a node's HTTP listener, "" where it is not
// known.
func (n *Node) HTTPAddr(name string) string {
	found, _ := n.pool.View().Find(name)
	return found.HTTP
}

// Ready returns nil when the node is a member of the ring and serves, else
// errors that say what it waits for; they are ErrNotReady.
func (n *Node) Ready() error {
	var missing []error
	s := n.keeper.State()
	switch {
	case n.stopping.Load():
		missing = append(missing, errors.New("shutting down"))
	case !n.pool.Joined():
		missing = append(missing, errors.New("not in the gossip pool yet: no seed has answered"))
	case s == nil:
		missing = append(missing, errors.New("no ring is known yet: no member of a cluster was met, and none was founded here"))
	case s.Self < 0:
		missing = append(missing, fmt.Errorf("not a member of ring %d yet: joining waits until every member is up", s.Version()))
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotReady, errors.Join(missing...))
}
