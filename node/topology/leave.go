package topology

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// attempts is how often a change that was asked for is proposed.
const attempts = 8

// changeQuestion asks a member to propose a change.
type changeQuestion struct {
	Knowledge
	Leave  uint64 `json:"leave,string"`     // who asks to go; 0: nobody
	Forget string `json:"forget,omitempty"` // the name of the member to forget; "": none
	Force  bool   `json:"force,omitempty"`
}

func (k *Keeper) answerChange(ctx context.Context, in *changeQuestion) (refusal, error) {
	if err := k.learn(ctx, &in.Knowledge); err != nil {
		return refusal{}, err
	}
	if in.Forget != "" {
		return refuse(k.forget(ctx, in.Forget, in.Force)), nil
	}
	return refuse(k.dismiss(ctx, in.Leave)), nil
}

// Leave takes this node out of the ring: it hands over what it holds. It
// returns nil once the node is out and nobody needs it any more, which Left
// tells too. The error is ErrLastMember for the only member, ErrNoRing where no
// ring is known, or ctx's, wrapped: then it may still get out. Run must be
// running.
func (k *Keeper) Leave(ctx context.Context) error {
	if k.State() == nil {
		return ErrNoRing
	}
	if err := k.pool.Update(func(f *membership.Facts) { f.Leaving = true }); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	k.leaving.Store(true)
	for failures := 0; ; {
		s := k.State()
		if s.Self < 0 {
			return k.awaitLeft(ctx, s)
		}
		err := k.askToLeave(ctx, s)
		if errors.Is(err, ErrLastMember) || ctx.Err() != nil {
			return k.stay(err, ctx.Err())
		}
		k.complain("leave the ring", err)
		if k.State().Self >= 0 {
			k.pause(ctx, &failures)
		}
	}
}

// awaitLeft waits until nobody needs this node, which is no member any more.
func (k *Keeper) awaitLeft(ctx context.Context, s *State) error {
	if removed, _ := s.ledger.removed(k.cfg.Storage); !removed {
		k.leftOnce.Do(func() { close(k.left) }) // it never was one
	}
	k.Behind()
	select {
	case <-k.left:
		return nil
	case <-ctx.Done():
		s = k.State()
		return fmt.Errorf("leave: ring %d is not settled: %w", s.Version(), ctx.Err())
	}
}

// stay takes back that this node leaves.
func (k *Keeper) stay(err, ended error) error {
	switch {
	case err == nil:
		err = ended
	case ended != nil && !errors.Is(err, ended):
		err = fmt.Errorf("%w: %w", ended, err)
	}
	k.leaving.Store(false)
	return errors.Join(fmt.Errorf("leave: %w", err), k.pool.Update(func(f *membership.Facts) { f.Leaving = false }))
}

// askToLeave has the first member in the order of names propose a record
// without this node.
func (k *Keeper) askToLeave(ctx context.Context, s *State) error {
	if len(s.Ring.Members()) == 1 {
		return ErrLastMember
	}
	view := k.pool.View()
	first := firstUp(s, view)
	if first == "" || first == k.cfg.Name {
		return k.dismiss(ctx, k.cfg.Storage)
	}
	return k.askChange(ctx, first, changeQuestion{Leave: k.cfg.Storage})
}

// askChange asks a member to propose a change, and learns what became of it.
func (k *Keeper) askChange(ctx context.Context, name string, in changeQuestion) error {
	in.Knowledge = k.knowledge()
	var out refusal
	if err := k.ask(ctx, name, askChange, &in, &out); err != nil {
		return fmt.Errorf("%s of %s: %w", askChange, name, err)
	}
	if err := out.error(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return k.Refresh(ctx, name)
}

// dismiss proposes a record without a member that hands over.
func (k *Keeper) dismiss(ctx context.Context, storage uint64) error {
	return k.proposeUntil(ctx, func(s *State) (ring.Record, error) {
		switch {
		case s.Ring.IndexOf(storage) < 0:
			return ring.Record{}, errNothing
		case !s.Settled():
			return ring.Record{}, ErrBusy
		}
		record, err := next(s.Live, change{leave: []uint64{storage}})
		if err == nil && !k.canGoOn(&record) {
			err = fmt.Errorf("%w: no majority of those who stay is up", ErrTooFew)
		}
		return record, err
	})
}

// canGoOn reports whether so many members of a record are up that it can be
// followed by another.
func (k *Keeper) canGoOn(r *ring.Record) bool {
	view := k.pool.View()
	there := map[uint64]bool{k.cfg.Storage: true}
	for _, m := range r.Members {
		if isUp(view, m) {
			there[m.Storage] = true
		}
	}
	return majority(r, there)
}

// errNothing is returned by what makes a record where none is needed.
var errNothing = errors.New("nothing to change")

// proposeUntil proposes what build makes of the newest version until that is
// decided, where others come first.
func (k *Keeper) proposeUntil(ctx context.Context, build func(*State) (ring.Record, error)) error {
	var err error
	for range attempts {
		s := k.State()
		if s == nil {
			return ErrNoRing
		}
		record, berr := build(s)
		if errors.Is(berr, errNothing) {
			return nil
		}
		if berr != nil {
			return berr
		}
		if err = k.propose(ctx, s, record); !errors.Is(err, errOvertaken) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(rankDelay)):
		}
	}
	return fmt.Errorf("%w: %w", ErrBusy, err)
}

// firstUp returns the name of the first member that is up in the order of
// names, "" where none is.
func firstUp(s *State, view *membership.View) string {
	first := ""
	for _, m := range s.Ring.Members() {
		if isUp(view, m) && (first == "" || m.Name < first) {
			first = m.Name
		}
	}
	return first
}
