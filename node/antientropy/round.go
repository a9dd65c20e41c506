package antientropy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// The policy of the repairer, of which a round is:
//
//   - Partitions that are not known are summed up, and of the others a share:
//     the scrub, which finds what changed behind the node's back.
//   - Every partition is exchanged with every other replica of it. One of which
//     something was moved is exchanged again at once, for it is as likely to
//     have been a write under way as a lost one; only what is alike then counts
//     as found without a difference.
//   - Partitions that somebody poked come before the rest of the round.
const (
	defaultInterval = time.Minute
	defaultScrub    = 16
	exchanges       = 3 // of a partition in a round at most
	complainEvery   = time.Minute
)

// Pair is a remote replica, and the partitions that it and this node hold.
type Pair struct {
	Remote     Replica
	Partitions []int
}

// Work is what a Repairer has to do. Its methods are called at each round.
type Work interface {
	// Partitions returns those that this node holds.
	Partitions() []int
	// Pairs returns every remote replica of any of them, also those that are
	// down: a round does not count as one without errors then.
	Pairs() []Pair
	// Refused is told the keys of entries that one replica, here or remote, holds
	// and the other has refused to the last.
	Refused(ctx context.Context, keys [][]byte)
}

// Local is this node's replica, with what its digests come from.
type Local struct {
	Replica Replica
	Trees   *Trees
	Store   kv.Scanner
}

// Config says how a Repairer works.
type Config struct {
	// Interval is how long it waits between two rounds; 0 means a minute.
	Interval time.Duration
	// Scrub is in how many rounds every partition is summed up anew; 0 means 16.
	Scrub int
	// Random, a number in [0,1) at each call, shortens an interval by up to a
	// quarter, so that the nodes of a cluster do not work all at once. nil means
	// that it is not shortened.
	Random func() float64
	// Options are those of its exchanges.
	Options Options
}

// Stats is what a Repairer has done since it was made.
type Stats struct {
	Rounds  uint64 // full rounds
	Failed  uint64 // those of them with an error
	Entries uint64 // that a replica, here or remote, took
	Bytes   uint64 // of them
	Refused uint64 // entries that a replica refused
	Busy    uint64 // partitions that could not be summed up for being written to
}

// Repairer keeps this node's partitions alike with their other replicas. Its
// methods are safe for concurrent use; Run may be called once.
type Repairer struct {
	cfg    Config
	work   Work
	local  Local
	logger hclog.Logger

	turn       int       // of the scrub; Run's, as are the next two
	complained time.Time // when an error was last logged
	withheld   int       // errors since then that were not

	wake  chan struct{}
	mu    sync.Mutex // guards what follows
	poked map[int]bool
	again bool // a full round was asked for
	last  time.Time
	stats Stats
}

// NewRepairer returns a Repairer that does nothing until Run is called.
func NewRepairer(cfg Config, work Work, local Local, logger hclog.Logger) *Repairer {
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Scrub <= 0 {
		cfg.Scrub = defaultScrub
	}
	if cfg.Random == nil {
		cfg.Random = func() float64 { return 0 }
	}
	return &Repairer{
		cfg: cfg, work: work, local: local, logger: logger,
		wake: make(chan struct{}, 1), poked: map[int]bool{},
	}
}

// Poke asks for an exchange of these partitions as soon as possible, or for a
// full round where there are none. It does not wait.
func (r *Repairer) Poke(partitions ...int) {
	r.mu.Lock()
	for _, p := range partitions {
		r.poked[p] = true
	}
	r.again = r.again || len(partitions) == 0
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Last returns when the last full round began that ended without errors and
// with every partition found alike with its other replicas: all that was
// written before is in all of them. It is zero while there was none.
func (r *Repairer) Last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Stats returns what was done so far.
func (r *Repairer) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Run does rounds until ctx ends, and then returns nil. The first one begins at
// once. What fails is logged, at most once a minute, and done again by the next
// round.
func (r *Repairer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r.round(ctx)
		r.rest(ctx)
	}
	return nil
}

// rest waits for the next round, and meanwhile does what is asked for.
func (r *Repairer) rest(ctx context.Context) {
	wait := r.cfg.Interval - time.Duration(r.cfg.Random()*float64(r.cfg.Interval)/4)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !r.takeAgain() {
		r.urgent(ctx)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-r.wake:
		}
	}
}

// round does a full round.
func (r *Repairer) round(ctx context.Context) {
	r.takeAgain() // this is the one
	began := time.Now()
	sound := r.scrub(ctx)
	alike := true
	for _, pair := range r.work.Pairs() {
		for chunk := range slices.Chunk(pair.Partitions, digestsAtOnce) {
			r.urgent(ctx)
			same, err := r.repair(ctx, pair.Remote, chunk)
			if ctx.Err() != nil {
				return
			}
			alike = alike && same
			sound = sound && err == nil
		}
	}
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Rounds++
	if !sound {
		r.stats.Failed++
	}
	if sound && alike {
		r.last = began
	}
}

// scrub sums up the partitions that are unknown and those whose turn it is, and
// reports whether it could read them.
func (r *Repairer) scrub(ctx context.Context) bool {
	var unknown, due []int
	for _, p := range r.work.Partitions() {
		switch {
		case !r.local.Trees.Known(p):
			unknown = append(unknown, p)
		case p%r.cfg.Scrub == r.turn%r.cfg.Scrub:
			due = append(due, p)
		}
	}
	sound := true
	for _, p := range append(unknown, due...) {
		if ctx.Err() != nil {
			return false
		}
		sound = r.rebuild(ctx, p) && sound
	}
	r.turn++
	return sound
}

// rebuild sums up a partition, and reports whether its entries could be read.
func (r *Repairer) rebuild(ctx context.Context, partition int) bool {
	err := r.local.Trees.Rebuild(ctx, partition, func(visit func(*kv.Entry) bool) error {
		return r.local.Store.Scan(ctx, partition, nil, visit)
	})
	if errors.Is(err, ErrBusy) {
		r.count(func(s *Stats) { s.Busy++ })
		return true
	}
	if err != nil {
		r.complain(ctx, "partition cannot be summed up for now", err, "partition", partition)
	}
	return err == nil
}

// urgent exchanges the partitions that were poked.
func (r *Repairer) urgent(ctx context.Context) {
	poked := r.takePoked()
	if len(poked) == 0 {
		return
	}
	for _, pair := range r.work.Pairs() {
		var both []int
		for _, p := range pair.Partitions {
			if poked[p] {
				both = append(both, p)
			}
		}
		if len(both) > 0 && ctx.Err() == nil {
			_, _ = r.repair(ctx, pair.Remote, both) // an error was logged, and the next round does it again
		}
	}
}

// repair exchanges partitions with a replica until they are found alike, which
// it reports. Its error was logged.
func (r *Repairer) repair(ctx context.Context, remote Replica, partitions []int) (alike bool, err error) {
	var refused [][]byte
	for range exchanges {
		moved, err := Exchange(ctx, r.local.Replica, remote, partitions, r.cfg.Options)
		r.count(func(s *Stats) {
			s.Entries += uint64(moved.Entries)
			s.Bytes += uint64(moved.Bytes)
			s.Refused += uint64(len(moved.Refused))
		})
		if err != nil {
			r.complain(ctx, "replicas are not repaired for now", err, "peer", remote.Name())
			return false, err
		}
		if len(moved.Changed) == 0 {
			return true, nil
		}
		partitions, refused = moved.Changed, moved.Refused
	}
	if len(refused) > 0 {
		r.work.Refused(ctx, refused)
	}
	return false, nil
}

func (r *Repairer) count(add func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.stats)
}

func (r *Repairer) takePoked() map[int]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	poked := r.poked
	r.poked = map[int]bool{}
	return poked
}

func (r *Repairer) takeAgain() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	again := r.again
	r.again = false
	return again
}

// complain logs an error, unless another one was logged within a minute.
func (r *Repairer) complain(ctx context.Context, message string, err error, facts ...any) {
	if ctx.Err() != nil {
		return // it is the end that makes it fail
	}
	now := time.Now()
	if !r.complained.IsZero() && now.Sub(r.complained) < complainEvery {
		r.withheld++
		return
	}
	facts = append(facts, "error", err)
	if r.withheld > 0 {
		facts = append(facts, "more_since", r.withheld)
	}
	r.logger.Warn(message, facts...)
	r.complained, r.withheld = now, 0
}
