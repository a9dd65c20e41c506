package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// rankDelay is how much longer each member waits than the one before it, in the
// order of names, before it proposes a record.
const rankDelay = 500 * time.Millisecond

// extend proposes the next version where there is reason to. Nodes that come
// together are taken in together: it waits a tick for more.
func (d *driver) extend(ctx context.Context, s *State, view *membership.View) {
	d.watchDown(s, view)
	c := d.wants(s, view)
	if c.empty() {
		d.wanted = time.Time{}
		return
	}
	if d.wanted.IsZero() {
		d.wanted = time.Now()
	}
	rank := time.Duration(rankOf(s, view, d.cfg.Storage))
	if time.Since(d.wanted) < d.cfg.Tick+rank*rankDelay {
		return
	}
	d.wanted = time.Now() // the next attempt is as far away
	c.join = d.answering(ctx, s, c.join)
	record, err := d.next(s, c)
	if err == nil && record.Version > 0 {
		err = d.propose(ctx, s, record)
	}
	if !errors.Is(err, errOvertaken) {
		d.complain("change the ring", err)
	}
}

// wants returns what the next record should do: take in nodes that are up, and
// forget members that were down for too long. While a change is under way, only
// what makes it go on is wanted.
func (d *driver) wants(s *State, view *membership.View) change {
	var c change
	for _, n := range view.Nodes() {
		ours := n.Cluster == "" || n.Cluster == s.Cluster()
		if !up(n) || !ours || n.Leaving || n.Storage == 0 || s.Ring.IndexOf(n.Storage) >= 0 {
			continue
		}
		if removed, _ := s.ledger.removed(n.Storage); removed {
			continue
		}
		if s.Settled() || s.Ring.Index(n.Name) >= 0 {
			c.join = append(c.join, ring.Member{Name: n.Name, Storage: n.Storage, Weight: max(1, n.Weight), Zone: n.Zone})
		}
	}
	if d.cfg.ForgetAfter > 0 {
		for storage, since := range d.down {
			if time.Since(since) >= d.cfg.ForgetAfter {
				c.forget = append(c.forget, storage)
			}
		}
		slices.Sort(c.forget)
	}
	return c
}

// next returns the record that does c, or as much of it as is possible; the
// zero one where that is nothing.
func (d *driver) next(s *State, c change) (ring.Record, error) {
	var possible change
	for _, m := range c.join { // who replaces nobody always can
		if s.Ring.Index(m.Name) < 0 {
			possible.join = append(possible.join, m)
		}
	}
	try := func(c change) {
		if _, err := next(s.Live, c); err != nil {
			d.complain("a member cannot be replaced, or forgotten", err)
			return
		}
		possible = c
	}
	for _, m := range c.join {
		if s.Ring.Index(m.Name) >= 0 {
			try(change{join: append(slices.Clone(possible.join), m), forget: possible.forget})
		}
	}
	for _, storage := range c.forget {
		try(change{join: possible.join, forget: append(slices.Clone(possible.forget), storage)})
	}
	if possible.empty() {
		return ring.Record{}, nil
	}
	return next(s.Live, possible)
}

// watchDown keeps since when members are down.
func (d *driver) watchDown(s *State, view *membership.View) {
	now := map[uint64]time.Time{}
	for _, r := range s.Live {
		for _, m := range r.Members() {
			if isUp(view, m) || s.Forgotten(m.Storage) || m.Storage == d.cfg.Storage {
				continue
			}
			now[m.Storage] = time.Now()
			if since, known := d.down[m.Storage]; known {
				now[m.Storage] = since
			}
		}
	}
	d.down = now
}

// rankOf returns how many members that are up come before one in the order of
// names.
func rankOf(s *State, view *membership.View, storage uint64) int {
	at := s.Ring.IndexOf(storage)
	if at < 0 {
		return len(s.Ring.Members())
	}
	rank, name := 0, s.MemberName(at)
	for _, m := range s.Ring.Members() {
		if m.Name < name && isUp(view, m) {
			rank++
		}
	}
	return rank
}

// answering returns those of the members to be that answer to their names, and
// so can take part in the next version.
func (d *driver) answering(ctx context.Context, s *State, joiners []ring.Member) []ring.Member {
	answered := make([]bool, len(joiners))
	var asking sync.WaitGroup
	for i, m := range joiners {
		asking.Go(func() {
			err := d.fits(ctx, s, m)
			answered[i] = err == nil
			d.complain(fmt.Sprintf("%s cannot join", m.Name), err)
		})
	}
	asking.Wait()
	var out []ring.Member
	for i, m := range joiners {
		if answered[i] {
			out = append(out, m)
		}
	}
	return out
}

// fits returns an error unless a node answers, and can be a member.
func (d *driver) fits(ctx context.Context, s *State, m ring.Member) error {
	said, err := d.exchange(ctx, m.Name)
	switch {
	case err != nil:
		return err
	case said.Storage != m.Storage:
		return fmt.Errorf("it has another store than it gossips: %x, not %x", said.Storage, m.Storage)
	case said.Cache != s.ledger.newest().Cache:
		return fmt.Errorf("its store evicts entries: %v, and those of the members: %v", said.Cache, !said.Cache)
	}
	return nil
}
