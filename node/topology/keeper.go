package topology

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// ErrNoRing is returned while this node knows no ring.
var ErrNoRing = errors.New("no ring is known yet")

// Pool is what a keeper needs of the gossip pool.
type Pool interface {
	View() *membership.View
	Watch() (changed <-chan struct{}, stop func())
	Update(change func(*membership.Facts)) error
	Joined() bool
}

// Asker puts a question to another node, over the peer protocol. The node is
// named as in the pool.
type Asker interface {
	Ask(ctx context.Context, node, question string, in, out any) error
}

// Config says what a keeper is for.
type Config struct {
	Name string // of this node
	// Founder says that this node may found a cluster, when for FoundingWait
	// nobody in the pool is in a ring.
	Founder      bool
	FoundingWait time.Duration
	Partitions   int // of a cluster that this node founds; 0 means kv.DefaultPartitions
	// Tick is how often a keeper looks again at what it could not complete;
	// 0 means 250 ms. Changes in the pool are acted upon at once.
	Tick time.Duration
}

// Keeper keeps a node's knowledge of the ring up to date. Its methods are safe
// for concurrent use.
type Keeper struct {
	cfg    Config
	meta   kv.Metadata // of the node's store; nil where it keeps none
	pool   Pool
	asker  Asker
	clock  *kv.Clock
	logger hclog.Logger
	life   uint64 // see Knowledge.Life

	state atomic.Pointer[State] // nil while no ring is known
	first chan struct{}         // closed when the first ring is adopted
	poke  chan struct{}         // capacity 1: look again now

	// changing has room for one: who changes state, and saves it first, which
	// may take its time.
	changing chan struct{}

	mu      sync.Mutex // guards what follows
	retired []*State   // older states that may still have users
	saved   *Knowledge // what Load has read and nobody has taken up yet
}

// New returns a keeper that knows no ring, and saves what it learns in meta
// where that is not nil. Load makes it remember, and Run learn.
func New(cfg Config, meta kv.Metadata, pool Pool, asker Asker, clock *kv.Clock, logger hclog.Logger) *Keeper {
	if cfg.Partitions == 0 {
		cfg.Partitions = kv.DefaultPartitions
	}
	if cfg.Tick == 0 {
		cfg.Tick = 250 * time.Millisecond
	}
	return &Keeper{
		cfg: cfg, meta: meta, pool: pool, asker: asker, clock: clock, logger: logger,
		life:  rand.Uint64(),
		first: make(chan struct{}),
		poke:  make(chan struct{}, 1),

		changing: make(chan struct{}, 1),
	}
}

// State returns what is known of the ring; nil while nothing is.
func (k *Keeper) State() *State { return k.state.Load() }

// Acquire returns the current state, counting its caller in as a user who
// must call Release; nil while no ring is known. A newer version is not
// acknowledged before all users of the older ones are gone, so whoever serves
// a request as an owner does it between Acquire and Release.
func (k *Keeper) Acquire() *State {
	for {
		s := k.state.Load()
		if s == nil || s.acquire() {
			return s
		}
	}
}

// Wait returns the first state, from the current one on, for which enough
// holds. Its error is ctx's, wrapped, or ErrNoRing with it where none is known.
func (k *Keeper) Wait(ctx context.Context, enough func(*State) bool) (*State, error) {
	next := k.first
	for {
		s := k.state.Load()
		if s != nil {
			if enough(s) {
				return s, nil
			}
			next = s.replaced
		}
		select {
		case <-next:
		case <-ctx.Done():
			if s == nil {
				return nil, fmt.Errorf("%w: %w", ErrNoRing, ctx.Err())
			}
			return nil, fmt.Errorf("wait for a change of ring %d: %w", s.Version(), ctx.Err())
		}
	}
}

// Behind tells the keeper that a newer ring version than its own was met, and
// makes it look for it at once.
func (k *Keeper) Behind() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// adopt takes over a history of ring versions when it is newer than what is
// known, or settles what is known. It never goes back, and refuses another
// cluster's. Of two records of one version, which only a driver that died
// half-way can have left behind, the one adopted first stays, and is never
// settled by what is said of the other. What cannot be saved is not adopted;
// saving ends with ctx.
func (k *Keeper) adopt(ctx context.Context, history []ring.Record, settled uint64) error {
	if len(history) == 0 {
		return nil
	}
	if err := check(history); err != nil {
		return err
	}
	select {
	case k.changing <- struct{}{}:
		defer func() { <-k.changing }()
	case <-ctx.Done():
		return fmt.Errorf("adopt ring %d: %w", len(history), ctx.Err())
	}
	newest := uint64(len(history))
	if saved := k.pending(); saved != nil && (history[0].Cluster != saved.History[0].Cluster || newest < saved.version()) {
		return fmt.Errorf("ring %d of cluster %s offered to a node that has acknowledged ring %d of cluster %s",
			newest, history[0].Cluster, saved.version(), saved.History[0].Cluster)
	}
	old := k.state.Load()
	if old != nil {
		if cluster := history[0].Cluster; cluster != old.Cluster() {
			return fmt.Errorf("ring of cluster %s offered to a member of cluster %s", cluster, old.Cluster())
		}
		switch known := old.Version(); {
		case newest < known, newest == known && (old.Settled || settled < known):
			return nil
		case newest == known && !sameHistory(history, old.history()):
			return fmt.Errorf("two different rings have version %d", known)
		}
	}
	rings, err := build(history, old)
	if err != nil {
		return err
	}
	next := newState(k.cfg.Name, rings, settled >= newest)
	if !k.isSaved(next) {
		if err := k.save(ctx, next); err != nil {
			return err
		}
	}
	k.replace(old, next)
	return nil
}

// build makes the rings of a history, taking from old those that it has.
func build(history []ring.Record, old *State) ([]*ring.Ring, error) {
	rings := make([]*ring.Ring, len(history))
	for i, record := range history {
		if old != nil && i < len(old.rings) && sameRecord(record, old.rings[i].Record()) {
			rings[i] = old.rings[i]
			continue
		}
		r, err := ring.New(record)
		if err != nil {
			return nil, fmt.Errorf("ring version %d: %w", record.Version, err)
		}
		rings[i] = r
	}
	return rings, nil
}

// check returns an error unless a history runs from version 1 without gaps, in
// one cluster, with one number of partitions.
func check(history []ring.Record) error {
	for i, record := range history {
		if record.Version != uint64(i)+1 || record.Cluster == "" || record.Cluster != history[0].Cluster ||
			record.Partitions != history[0].Partitions {
			return fmt.Errorf("broken ring history: record %d has version %d and %d partitions, of cluster %q",
				i+1, record.Version, record.Partitions, record.Cluster)
		}
	}
	return nil
}

func sameHistory(a, b []ring.Record) bool {
	return slices.EqualFunc(a, b, sameRecord)
}

func sameRecord(a, b ring.Record) bool {
	return a.Version == b.Version && a.Cluster == b.Cluster && a.Partitions == b.Partitions &&
		a.Replicas == b.Replicas && slices.Equal(a.Members, b.Members)
}

// replace makes next the current state. Its caller has k.changing.
func (k *Keeper) replace(old, next *State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saved = nil
	k.state.Store(next)
	if old == nil {
		close(k.first)
	} else {
		close(old.replaced)
		k.retired = append(k.retired, old)
		old.Release()
	}
	k.logger.Info("ring adopted", "version", next.Version(), "members", len(next.Ring.Members()),
		"settled", next.Settled, "partitions", ownedBy(next))
	k.Behind() // to gossip it, and for whoever drives there is more to do
}

func ownedBy(s *State) int {
	if s.Self < 0 {
		return 0
	}
	return s.Ring.Owned(s.Self)
}

// drained reports whether no request that was admitted under an older state
// runs.
func (k *Keeper) drained() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.retired {
		select {
		case <-s.idle:
		default:
			return false
		}
	}
	return true
}

// drain waits until no request that was admitted under an older state runs.
func (k *Keeper) drain(ctx context.Context) error {
	for {
		k.mu.Lock()
		if len(k.retired) == 0 {
			k.mu.Unlock()
			return nil
		}
		oldest := k.retired[0]
		k.mu.Unlock()
		select {
		case <-oldest.idle:
		case <-ctx.Done():
			return fmt.Errorf("wait for requests under ring %d: %w", oldest.Version(), ctx.Err())
		}
		k.mu.Lock()
		if len(k.retired) > 0 && k.retired[0] == oldest {
			k.retired = k.retired[1:]
		}
		k.mu.Unlock()
	}
}
