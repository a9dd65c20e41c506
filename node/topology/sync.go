package topology

import (
	"context"
	"errors"
	"time"

	"github.com/thunderdb/thunderdb/ring"
)

// maxPause is the longest pause before what has failed is tried again.
const maxPause = 5 * time.Second

// keepSyncing syncs each version as soon as all have acknowledged it, until ctx
// ends.
func (k *Keeper) keepSyncing(ctx context.Context) {
	failures := 0
	for {
		s, err := k.Wait(ctx, func(s *State) bool { return s.ledger.toSync() > 0 })
		if err != nil {
			return
		}
		err = k.sync(ctx, s, s.ledger.toSync())
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		k.complain("compare entries for a change of the ring", err)
		k.pause(ctx, &failures)
	}
}

// sync does what version v asks of this node, and says so. It is given up, to
// begin again with other sources, when a newer version comes: a source may have
// been forgotten.
func (k *Keeper) sync(ctx context.Context, s *State, v uint64) error {
	from, to := s.Read.Version()-s.Oldest(), v-s.Oldest()
	live := s.Live[from : to+1]
	view := k.pool.View()
	tasks := plan(k.cfg.Storage, live, s.gone, func(m ring.Member) bool { return isUp(view, m) })
	r := live[len(live)-1]
	if at := r.IndexOf(k.cfg.Storage); at >= 0 && r.Held(at) > 0 && len(live) > 1 {
		// It is a source itself, also where that is enough and there are no tasks.
		if err := k.Seal(ctx, v); err != nil {
			return err
		}
		ctx, stop := k.whileNewest(ctx, s)
		err := k.data.Compare(ctx, v, tasks)
		stop()
		if err != nil {
			return err
		}
	}
	return k.update(ctx, func(l *ledger) error {
		l.raise(Numbers{Sync: v})
		return nil
	})
}

// whileNewest returns a context that ends when a newer version than that of s
// is known. stop must be called.
func (k *Keeper) whileNewest(ctx context.Context, s *State) (newest context.Context, stop func()) {
	newest, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = k.Wait(newest, func(now *State) bool { return now.Version() != s.Version() })
		cancel()
	}()
	return newest, func() { cancel(); <-ended }
}

// pause waits a while after a failure, the longer the more there were in a row.
func (k *Keeper) pause(ctx context.Context, failures *int) {
	d := min(k.cfg.Tick<<min(*failures, 8), maxPause)
	*failures++
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// keepCleaning deletes what this node does not hold any more, until ctx ends.
func (k *Keeper) keepCleaning(ctx context.Context) {
	failures := 0
	for {
		_, err := k.Wait(ctx, (*State).toClean)
		if err != nil {
			return
		}
		err = k.clean(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		k.complain("delete what other nodes hold now", err)
		k.pause(ctx, &failures)
	}
}

// toClean reports whether there is something to delete, and it may be.
func (s *State) toClean() bool {
	return s.Settled() && s.Confirmed && s.Self >= 0 && len(s.ledger.Clean) > 0
}

// errGivesWay is returned by clean where it has not begun.
var errGivesWay = errors.New("other partitions are about to come here")

// clean deletes it.
func (k *Keeper) clean(ctx context.Context) error {
	if err := acquire(ctx, k.cleaning); err != nil {
		return err
	}
	defer func() { <-k.cleaning }()
	cleanCtx, stop, err := k.interruptible(ctx)
	if err != nil {
		return err
	}
	defer stop()
	s := k.State()
	if !s.toClean() {
		return nil
	}
	// Reads that were admitted while it was a replica.
	if err := k.drain(cleanCtx, func(old *State) bool { return old.Oldest() < s.Oldest() }); err != nil {
		return err
	}
	partitions := s.ledger.Clean // none of which becomes this node's before cleaning is free
	if err := k.data.Clean(cleanCtx, s, partitions); err != nil {
		return err
	}
	return k.update(ctx, func(l *ledger) error { // which brings nothing, so it needs no cleaning
		l.Clean = without(l.Clean, partitions)
		return nil
	})
}

// interruptible returns a context that ends when somebody needs k.cleaning,
// which its caller has. stop must be called. The error is errGivesWay where
// somebody needs it already.
func (k *Keeper) interruptible(ctx context.Context) (cleanCtx context.Context, stop func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.emptying > 0 {
		return nil, nil, errGivesWay
	}
	cleanCtx, cancel := context.WithCancel(ctx)
	k.stopClean = cancel
	return cleanCtx, func() {
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.stopClean = nil
	}, nil
}

// without returns those of all that are not among some; both are in order.
func without(all, some []int) []int {
	var out []int
	for _, p := range all {
		for len(some) > 0 && some[0] < p {
			some = some[1:]
		}
		if len(some) == 0 || some[0] != p {
			out = append(out, p)
		}
	}
	return out
}
