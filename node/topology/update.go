package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thunderdb/thunderdb/ring"
)

// update is how all that this node knows of the ring changes: it has change
// work on a copy, draws what follows from it, empties partitions that come to
// this node, saves the copy, and only then makes it the state that requests,
// gossip and other nodes get to see. Where anything of that fails, nothing has
// changed.
//
// Partitions are emptied before the version that brings them is known here at
// all, for once it is, others may write to them. That may have to wait for
// requests, which may themselves be waiting for an update; so it happens before
// k.changing is taken, and change may be called several times. Whoever
// publishes a version that brings partitions has k.cleaning from before he
// empties them: nobody else can have brought them meanwhile.
func (k *Keeper) update(ctx context.Context, change func(*ledger) error) error {
	gained, err := k.try(ctx, change, nil)
	if err != nil || len(gained) == 0 {
		return err
	}
	if err := k.interruptCleaning(ctx); err != nil {
		return err
	}
	defer func() { <-k.cleaning }()
	var emptied []int
	for {
		gained, err = k.try(ctx, change, emptied)
		if err != nil || len(gained) == 0 {
			return err
		}
		if err := k.empty(ctx, gained); err != nil {
			return err
		}
		emptied = append(emptied, gained...)
		slices.Sort(emptied)
	}
}

// try is update, unless that brings partitions that have not been emptied. Then
// it returns them, and nothing has changed.
func (k *Keeper) try(ctx context.Context, change func(*ledger) error, emptied []int) (gained []int, err error) {
	if err := acquire(ctx, k.changing); err != nil {
		return nil, fmt.Errorf("change what is known of the ring: %w", err)
	}
	defer func() { <-k.changing }()
	old := k.ledger()
	next, err := k.changed(old, change)
	if err != nil || next.equal(old) || next.hi() == 0 {
		return nil, err
	}
	var before []*ring.Ring
	if s := k.state.Load(); s != nil {
		before = s.Live
	}
	rings, err := build(next.Records, before)
	if err != nil {
		return nil, err
	}
	gained, lost := moved(k.cfg.Storage, before, rings)
	gained = without(gained, emptied)
	if founds := old.hi() == 0 && next.hi() == 1 && len(next.newest().Members) == 1; len(gained) > 0 && !founds {
		return gained, nil
	}
	next.Clean = cleanAfter(next, rings, lost)
	if err := k.save(ctx, next); err != nil {
		return nil, err
	}
	k.publish(next, rings)
	return nil, nil
}

// changed returns a changed copy of a ledger.
func (k *Keeper) changed(old *ledger, change func(*ledger) error) (*ledger, error) {
	next := old.clone()
	if err := change(next); err != nil {
		if errors.Is(err, ErrSetBack) {
			err = fmt.Errorf("%w: start this node with an empty store, or have the others forget it", err)
			k.fail(err)
		}
		return nil, err
	}
	if err := next.checkPartitions(k.cfg.Partitions); err != nil {
		return nil, err
	}
	next.advance()
	return next, nil
}

// interruptCleaning takes k.cleaning. A deletion in the background that has it,
// or gets it first, gives way.
func (k *Keeper) interruptCleaning(ctx context.Context) error {
	k.mu.Lock()
	k.emptying++
	if k.stopClean != nil {
		k.stopClean()
	}
	k.mu.Unlock()
	err := acquire(ctx, k.cleaning)
	k.mu.Lock()
	k.emptying--
	k.mu.Unlock()
	if err != nil {
		return fmt.Errorf("wait for the end of a deletion: %w", err)
	}
	return nil
}

// empty empties partitions that this node holds under no live version. Its
// caller has k.cleaning.
func (k *Keeper) empty(ctx context.Context, partitions []int) error {
	// Those who were admitted while it held them under an older version.
	lo := k.ledger().lo()
	err := k.drain(ctx, func(s *State) bool { return s.Oldest() < lo })
	if err == nil {
		err = k.data.Empty(ctx, partitions)
	}
	if err != nil {
		return fmt.Errorf("empty %d partitions that come here: %w", len(partitions), err)
	}
	return nil
}

// cleanAfter returns what is left to be deleted here, given what this node has
// just ceased to hold. Who is out of the ring deletes nothing.
func cleanAfter(l *ledger, rings []*ring.Ring, lost []int) []int {
	if rings[len(rings)-1].IndexOf(l.Storage) < 0 {
		return nil
	}
	held := holdings(l.Storage, rings)
	all := slices.Concat(l.Clean, lost)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(p int) bool { return p < len(held) && held[p] })
}

// build makes the rings of records, taking from known those that it has.
func build(records []ring.Record, known []*ring.Ring) ([]*ring.Ring, error) {
	rings := make([]*ring.Ring, len(records))
	for i := range records {
		at := slices.IndexFunc(known, func(r *ring.Ring) bool { return r.Version() == records[i].Version })
		if at >= 0 {
			rings[i] = known[at] // versions never change
			continue
		}
		r, err := ring.New(records[i])
		if err != nil {
			return nil, fmt.Errorf("ring version %d: %w", records[i].Version, err)
		}
		rings[i] = r
	}
	return rings, nil
}

// publish makes a ledger the current state. Its caller has k.changing.
func (k *Keeper) publish(l *ledger, rings []*ring.Ring) {
	next := newState(k.cfg.Name, l, rings, k.confirmed.Load(), k.Behind)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = slices.DeleteFunc(k.retired, func(s *State) bool { return !s.busy() })
	old := k.state.Swap(next)
	if old == nil {
		close(k.first)
	} else {
		close(old.replaced)
		k.retired = append(k.retired, old)
		old.Release()
	}
	k.logChange(old, next)
	k.Behind() // to gossip it, and there may be more to do
}

// logChange says what has become of the ring.
func (k *Keeper) logChange(old, next *State) {
	switch {
	case old == nil || old.Version() != next.Version():
		held := 0
		if next.Self >= 0 {
			held = next.Ring.Held(next.Self)
		}
		k.logger.Info("ring adopted", "version", next.Version(), "cluster", next.Cluster(),
			"members", len(next.Ring.Members()), "partitions", held)
	case !old.Settled() && next.Settled():
		k.logger.Info("ring settled", "version", next.Version())
	}
}

// acquire takes the one place of a semaphore; its error is ctx's.
func acquire(ctx context.Context, semaphore chan struct{}) error {
	select {
	case semaphore <- struct{}{}:
		return nil
	default:
	}
	select {
	case semaphore <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
