package topology

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// Keeper keeps a node's knowledge of the ring up to date. Its methods are safe
// for concurrent use.
type Keeper struct {
	cfg    Config
	meta   kv.Metadata // of the node's store; nil where it keeps none
	pool   Pool
	asker  Asker
	data   Data
	clock  *kv.Clock
	logger hclog.Logger

	state     atomic.Pointer[State] // nil while no ring is known
	first     chan struct{}         // closed when the first ring is adopted
	poke      chan struct{}         // capacity 1: look again now
	left      chan struct{}         // closed when this node is out for good
	leaving   atomic.Bool           // Leave was called
	confirmed atomic.Bool           // see State.Confirmed

	// Each has room for one: who changes the state, and saves it first, which may
	// take its time; who proposes a record; and who deletes entries, those of
	// partitions that are about to come here included. Who has changing waits for
	// neither a request nor another of them.
	changing, proposing, cleaning chan struct{}

	met      Ballot // the highest ballot that stood in its way; of who is proposing
	leftOnce sync.Once

	mu         sync.Mutex           // guards what follows
	retired    []*State             // older states that may still have users
	agree      map[uint64]uint64    // by storage identity, the version that it knows none newer than
	stopClean  context.CancelFunc   // of the cleaning that is under way; nil: none is
	emptying   int                  // how many wait for cleaning, so that none is to begin
	fatal      error                // what Run is to end with
	complaints map[string]time.Time // when each kind was last logged
}

// New returns a keeper that knows no ring, and saves what it learns in meta
// where that is not nil. Load makes it remember, and Run learn.
func New(cfg Config, meta kv.Metadata, pool Pool, asker Asker, data Data, clock *kv.Clock, logger hclog.Logger) *Keeper {
	if cfg.Partitions == 0 {
		cfg.Partitions = kv.DefaultPartitions
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = DefaultReplicas
	}
	if cfg.Tick == 0 {
		cfg.Tick = 250 * time.Millisecond
	}
	for cfg.Storage == 0 {
		cfg.Storage = rand.Uint64()
	}
	return &Keeper{
		cfg: cfg, meta: meta, pool: pool, asker: asker, data: data, clock: clock, logger: logger,
		first: make(chan struct{}),
		poke:  make(chan struct{}, 1),
		left:  make(chan struct{}),

		changing:   make(chan struct{}, 1),
		proposing:  make(chan struct{}, 1),
		cleaning:   make(chan struct{}, 1),
		agree:      map[uint64]uint64{},
		complaints: map[string]time.Time{},
	}
}

// State returns what is known of the ring; nil while nothing is.
func (k *Keeper) State() *State { return k.state.Load() }

// ledger returns what the current state was made of, an empty one where there
// is none. It must not be changed.
func (k *Keeper) ledger() *ledger {
	if s := k.state.Load(); s != nil {
		return s.ledger
	}
	return &ledger{Storage: k.cfg.Storage}
}

// Acquire returns the current state, counting its caller in as a user who
// must call Release; nil while no ring is known. A newer version is not
// acknowledged before all users of the older ones are gone. So whoever
// coordinates a write does it between Acquire and Release.
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

// Seal makes this node remember, before anything is compared for version v,
// that it was: from then on it refuses who does not know v. When it returns nil,
// that is durable, and [Keeper.State] tells of it. It waits for nobody: writes
// that were let in by an older state may still be running, and its caller waits
// for them before it reads what is to be compared. The version must be known.
func (k *Keeper) Seal(ctx context.Context, v uint64) error {
	err := k.update(ctx, func(l *ledger) error {
		if v > l.hi() {
			return fmt.Errorf("ring %d is not known, only %d", v, l.hi())
		}
		l.Seal = max(l.Seal, v)
		return nil
	})
	if err != nil {
		return fmt.Errorf("seal for ring %d: %w", v, err)
	}
	return nil
}

// Left is closed when this node is out of the ring after [Keeper.Leave], and
// nobody needs it any more: it may end.
func (k *Keeper) Left() <-chan struct{} { return k.left }

// ackable returns the newest version under which, or under newer ones, all
// requests were admitted that are still running.
func (k *Keeper) ackable() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.ledger().hi()
	for _, s := range k.retired {
		if s.busy() {
			v = min(v, s.Version())
		}
	}
	return v
}

// drain waits until no request runs that was admitted under a state that has
// been replaced and that which holds for.
func (k *Keeper) drain(ctx context.Context, which func(*State) bool) error {
	for {
		k.mu.Lock()
		at := slices.IndexFunc(k.retired, func(s *State) bool { return which(s) && s.busy() })
		if at < 0 {
			k.mu.Unlock()
			return nil
		}
		oldest := k.retired[at]
		k.mu.Unlock()
		select {
		case <-oldest.idle:
		case <-ctx.Done():
			return fmt.Errorf("wait for requests under ring %d: %w", oldest.Version(), ctx.Err())
		}
	}
}

// fail makes Run end with an error.
func (k *Keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fatal == nil {
		k.fatal = err
	}
	k.Behind()
}

// failed returns the error that Run is to end with.
func (k *Keeper) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fatal
}

// complain logs what is not possible yet, at most once a minute for each kind.
func (k *Keeper) complain(what string, err error) {
	if err == nil {
		return
	}
	k.mu.Lock()
	last, known := k.complaints[what]
	seldom := !known || time.Since(last) >= time.Minute
	if seldom {
		k.complaints[what] = time.Now()
	}
	k.mu.Unlock()
	if seldom {
		k.logger.Info(what, "reason", err)
	}
}
