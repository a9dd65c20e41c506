package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/handoff"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// Config says who a node is. The zero value of a duration or count means its
// default.
type Config struct {
	Name string // unique in the cluster
	Boot uint64 // larger at each start, as gossip tells it
	// Founder, FoundingWait, Partitions, Replicas and ForgetAfter: see
	// topology.Config.
	Founder      bool
	FoundingWait time.Duration
	Partitions   int
	Replicas     int
	ForgetAfter  time.Duration
	// TransferRate bounds what this node fetches when partitions move or are
	// repaired, in bytes a second; 0 means no bound.
	TransferRate int64
	// RepairEvery is how long a comparison of all partitions with their other
	// replicas takes about: 1 min.
	RepairEvery time.Duration
	// TombstoneGrace is for how long at least a deleted key is known to have been
	// deleted: 4 h.
	TombstoneGrace time.Duration
	// HintDir is where hints outlive the process; "" means nowhere.
	HintDir string
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
	share  *share
	clock  *kv.Clock
	pool   topology.Pool
	peers  *peers
	keeper *topology.Keeper
	locks  *keyLocks
	doubts doubts
	hints  *handoff.Log
	mover  *mover
	stats  statsCache

	leave    chan struct{}  // capacity 1: see Leave
	tails    sync.WaitGroup // what is done for nobody who waits
	repaired atomic.Int64   // replicas that reads have mended
	stopping atomic.Bool    // see Stopping
}

// New returns a node over a store and a gossip pool, which takes up what an
// earlier process of its name left in the store. Run starts it. The error is
// ErrForeignStore where the store is another node's, or one of reading or
// writing it.
func New(ctx context.Context, cfg Config, store kv.Store, pool topology.Pool, logger hclog.Logger) (*Node, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = kv.DefaultPartitions
	}
	if cfg.TombstoneGrace == 0 {
		cfg.TombstoneGrace = defaultGrace
	}
	n := &Node{
		cfg: cfg, store: store, pool: pool, logger: logger,
		clock: kv.NewClock(cfg.Wall), locks: newKeyLocks(), leave: make(chan struct{}, 1),
	}
	meta, _ := store.(kv.Metadata)
	var err error
	if n.id, err = storageIdentity(ctx, meta, cfg.Name); err != nil {
		return nil, err
	}
	if err := beginClock(ctx, meta, n.clock); err != nil {
		return nil, err
	}
	if n.hints, err = handoff.Open(handoff.Config{Dir: cfg.HintDir, Now: cfg.Wall, Logger: logger.Named("handoff")}); err != nil {
		return nil, err
	}
	n.doubts.raise()
	n.peers = newPeers(peer.ClientConfig{
		Self: n.identity(), Clock: n.clock, Logger: logger.Named("peer"), Dial: cfg.Dial,
	}, pool, n.peersChanged)
	n.mover = newMover()
	evictor, _ := store.(kv.Evictor)
	n.keeper = topology.New(topology.Config{
		Name: cfg.Name, Storage: n.id, Founder: cfg.Founder, FoundingWait: cfg.FoundingWait,
		Partitions: cfg.Partitions, Replicas: cfg.Replicas, ForgetAfter: cfg.ForgetAfter,
		Cache: evictor != nil && evictor.Evicts(),
	}, meta, pool, n.peers, n.mover, n.clock, logger.Named("topology"))
	if err := n.keeper.Load(ctx); err != nil {
		return nil, err
	}
	if n.share, err = newShare(ctx, n, meta); err != nil {
		return nil, err
	}
	n.mover.init(n)
	return n, nil
}

// newShare returns what a node holds as a replica.
func newShare(ctx context.Context, n *Node, meta kv.Metadata) (*share, error) {
	h := &share{
		name: n.cfg.Name, store: n.store, keeper: n.keeper,
	}
	durable, _ := n.store.(kv.Durable)
	h.lasts = durable != nil && durable.Durable()
	h.batches, _ = n.store.(kv.BatchGetter)
	_, h.repeats = n.store.(kv.Mortal)
	if _, ok := n.store.(kv.Scanner); ok {
		h.trees = antientropy.NewTrees(n.cfg.Partitions)
	}
	var err error
	evictor, _ := n.store.(kv.Evictor)
	_, purges := n.store.(kv.Purger)
	if purges && meta != nil && h.trees != nil && (evictor == nil || !evictor.Evicts()) {
		if h.horizons, err = newHorizons(ctx, meta, n.clock, n.cfg.Partitions, n.cfg.TombstoneGrace); err != nil {
			return nil, err
		}
	}
	if h.promises, err = loadPromises(ctx, meta, time.Now()); err != nil {
		return nil, err
	}
	for _, key := range h.promises.overdue(time.Now().Add(time.Hour)) {
		if e, err := h.store.Get(ctx, key, nil); err == nil {
			h.promises.met(key, e.Version) // it was kept, and that was not saved
		}
	}
	return h, nil
}

func (n *Node) identity() peer.Identity {
	return peer.Identity{
		Name: n.cfg.Name, Boot: n.cfg.Boot, Cluster: n.cluster, Storage: func() uint64 { return n.id },
	}
}

// cluster returns the identity of the cluster, "" while none is known.
func (n *Node) cluster() string {
	s := n.keeper.State()
	if s == nil {
		return ""
	}
	return s.Cluster()
}

// peersChanged takes in that others came or went.
func (n *Node) peersChanged() {
	n.doubts.raise()
	n.mover.wake()
}

// Run keeps the node in the ring, and serves its peers on l, until ctx ends.
// The error is ErrRemoved where the cluster has gone on without this node's
// store: see Reset. It is ErrLostStore where the store has lost what it held.
func (n *Node) Run(ctx context.Context, l net.Listener) error {
	server := peer.NewServer(peer.ServerConfig{
		Self: n.identity(), Clock: n.clock, Logger: n.logger.Named("peer"),
	}, n)
	for question, answer := range n.keeper.Answers() {
		server.Answer(question, answer)
	}
	server.Answer(digestQuestion, n.answerDigests)
	server.Answer(horizonQuestion, n.answerHorizon)
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
	for _, run := range []func(context.Context) error{
		n.keeper.Run, n.watchStore, n.sweep, n.keepClock, n.hints.Run, n.mover.run, n.leaves,
	} {
		group.Go(func() error { return run(ctx) })
	}
	err := group.Wait()
	n.tails.Wait()
	return err
}

// watchStore ends with ctx, or with ErrLostStore where the store is lost.
func (n *Node) watchStore(ctx context.Context) error {
	mortal, ok := n.store.(kv.Mortal)
	if !ok {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-mortal.Lost():
		return ErrLostStore
	}
}

// Stopping makes the node not ready, for the process is about to end. It
// serves on until Run's context ends.
func (n *Node) Stopping() { n.stopping.Store(true) }

// Name returns the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// Ring returns the ring whose replicas are read; nil while none is known.
func (n *Node) Ring() *ring.Ring {
	s := n.keeper.State()
	if s == nil {
		return nil
	}
	return s.Read
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
	case !s.Confirmed:
		missing = append(missing, fmt.Errorf("ring %d is not confirmed yet by a majority of its members", s.Version()))
	case s.Self < 0:
		missing = append(missing, fmt.Errorf("not a member of ring %d yet", s.Version()))
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotReady, errors.Join(missing...))
}
