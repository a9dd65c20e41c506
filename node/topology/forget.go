package topology

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// Forget takes the member called name out of the ring, which is down for good,
// or ends the wait for one that is on its way out. With force it does so also
// where a majority of the members is gone, or too few replicas of a partition
// are left: then all members that are down are given up, and with them what was
// written to them alone, and the others begin a new generation of the cluster.
// The error is ErrNoRing, ErrNoMember, ErrMemberUp, ErrTooFew without force,
// ErrBusy where others keep coming first, or ctx's.
func (k *Keeper) Forget(ctx context.Context, name string, force bool) error {
	s := k.State()
	if s == nil {
		return ErrNoRing
	}
	if s.Self >= 0 {
		return k.forget(ctx, name, force)
	}
	first := firstUp(s, k.pool.View())
	if first == "" {
		return fmt.Errorf("forget %s: %w: no member is up", name, ErrTooFew)
	}
	return k.askChange(ctx, first, changeQuestion{Forget: name, Force: force})
}

// forget is Forget at a member.
func (k *Keeper) forget(ctx context.Context, name string, force bool) error {
	known := false
	err := k.proposeUntil(ctx, func(s *State) (ring.Record, error) {
		m, ok := find(s, name)
		switch {
		case !ok && known:
			return ring.Record{}, errNothing // another has
		case !ok:
			return ring.Record{}, ErrNoMember
		case isUp(k.pool.View(), m) || m.Storage == k.cfg.Storage:
			return ring.Record{}, ErrMemberUp
		}
		known = true
		return next(s.Live, change{forget: []uint64{m.Storage}})
	})
	if force && errors.Is(err, ErrTooFew) {
		err = k.force(ctx)
	}
	if err != nil {
		return fmt.Errorf("forget %s: %w", name, err)
	}
	return nil
}

// find returns the member called name of the newest live version that has one
// which is not forgotten.
func find(s *State, name string) (ring.Member, bool) {
	for i := len(s.Live) - 1; i >= 0; i-- {
		r := s.Live[i]
		if at := r.Index(name); at >= 0 && !s.Forgotten(r.Members()[at].Storage) {
			return r.Members()[at], true
		}
	}
	return ring.Member{}, false
}

// forceQuestion tells a node of a record that nobody voted on.
type forceQuestion struct {
	Knowledge
}

// force gives up all members that are down. The others adopt the record before
// this node does, for after that nodes of the older generation are strangers.
func (k *Keeper) force(ctx context.Context) error {
	if err := acquire(ctx, k.proposing); err != nil {
		return err
	}
	defer func() { <-k.proposing }()
	view := k.pool.View()
	if err := each(k.reachable(view), func(name string) error { return k.Refresh(ctx, name) }); err != nil {
		return err
	}
	s := k.State()
	record, err := forced(s.Live, func(m ring.Member) bool { return m.Storage == k.cfg.Storage || isUp(view, m) })
	if err != nil {
		return err
	}
	in := forceQuestion{Knowledge: k.knowledge()}
	in.Records = append(s.ledger.clone().Records, record)
	k.logger.Warn("giving up the members that are down", "version", record.Version,
		"cluster", record.Cluster, "members", len(record.Members))
	err = each(k.reachable(view), func(name string) error { return k.tellForce(ctx, name, in) })
	if uerr := k.update(ctx, func(l *ledger) error { return l.merge(&in.Knowledge) }); uerr != nil {
		return uerr
	}
	if err != nil {
		return fmt.Errorf("not told of the new generation: %w", err)
	}
	return nil
}

// tellForce has a node adopt a record that nobody voted on.
func (k *Keeper) tellForce(ctx context.Context, name string, in forceQuestion) error {
	var err error
	for failures := 0; failures < 3; {
		if err = k.ask(ctx, name, askForce, &in, nil); err == nil || ctx.Err() != nil {
			return err
		}
		k.pause(ctx, &failures)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func (k *Keeper) answerForce(ctx context.Context, in *forceQuestion) (struct{}, error) {
	return struct{}{}, k.learn(ctx, &in.Knowledge)
}

// reachable returns the names of the other nodes of this cluster that are up.
func (k *Keeper) reachable(view *membership.View) []string {
	var out []string
	for _, n := range view.Nodes() {
		if n.Name != k.cfg.Name && up(n) && n.Cluster == k.ledger().newest().Cluster {
			out = append(out, n.Name)
		}
	}
	return out
}

// each calls do for all names at once, and returns its errors joined.
func each(names []string, do func(name string) error) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = do(name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
