package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// Run keeps the knowledge of the ring up to date until ctx ends: it learns from
// the other nodes, founds a cluster where it may, and drives changes where it
// is this node's turn.
func (k *Keeper) Run(ctx context.Context) error {
	changed, stop := k.pool.Watch()
	defer stop()
	tick := time.NewTicker(k.cfg.Tick)
	defer tick.Stop()
	d := driver{Keeper: k, began: time.Now(), complaints: map[string]time.Time{}}
	for {
		d.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-k.poke:
		case <-tick.C:
		}
	}
}

// driver is the part of a keeper that acts. Only Run's goroutine uses it.
type driver struct {
	*Keeper
	began      time.Time
	joinSeen   time.Time            // when the nodes that wait to join were first seen
	announced  *State               // what gossip was last told
	complaints map[string]time.Time // when each kind was last logged
}

// step does the next thing that there is to do. What cannot be done now is
// tried again at the next tick.
func (d *driver) step(ctx context.Context) {
	view := d.pool.View()
	if !d.resume(ctx, view) {
		return // until then nothing is learned, founded or driven
	}
	d.catchUp(ctx, view)
	s := d.State()
	d.announce(s)
	switch {
	case s == nil:
		d.found(ctx, view)
	case s.Self < 0: // not a member: it only follows
	case s.Settled && d.drives(s):
		d.extend(ctx, s, view)
	case s.Settled: // it is the driver's turn
	case d.drives(s):
		d.settle(ctx, s)
	default:
		d.complain("ring version waits to be settled", d.Refresh(ctx, lowest(s.Ring)))
	}
}

// announce tells the pool which ring this node has acknowledged, as far as it
// is concerned: what it may still be doing under an older one is waited for.
func (d *driver) announce(s *State) {
	if s == nil || s == d.announced || !d.drained() {
		return
	}
	err := d.pool.Update(func(f *membership.Facts) {
		f.Cluster = s.Cluster()
		f.Ring = s.Version()
		f.Member = s.Self >= 0
		f.Founding = false
	})
	if err != nil {
		d.complain("gossip of the ring version", err)
		return
	}
	d.announced = s
}

// drives reports whether it is this node that writes the next ring version.
func (d *driver) drives(s *State) bool { return lowest(s.Ring) == d.cfg.Name }

// lowest returns the name of the member with the lowest name.
func lowest(r *ring.Ring) string {
	members := r.Members()
	name := members[0].Name
	for _, m := range members[1:] {
		name = min(name, m.Name)
	}
	return name
}

// catchUp learns from whoever knows a newer ring.
func (d *driver) catchUp(ctx context.Context, view *membership.View) {
	if !d.pool.Joined() {
		return // the name may be another's, and with it the place in the ring
	}
	s := d.State()
	if s == nil {
		d.complain("learn the ring", d.learnNewest(ctx, d.ahead(view, 1)))
		return
	}
	ahead := d.ahead(view, s.Version()+1)
	d.complain("learn the newest ring", each(ahead, func(i int) error { return d.Refresh(ctx, ahead[i].Name) }))
}

// ahead returns the other nodes that are up and know this ring version, or a
// newer one.
func (d *driver) ahead(view *membership.View, version uint64) []membership.Node {
	var out []membership.Node
	for _, n := range view.Nodes() {
		if n.Name != d.cfg.Name && n.Ring >= version && up(n) {
			out = append(out, n)
		}
	}
	return out
}

// learnNewest takes over the newest ring that the nodes know, and nothing
// before all have answered: this node may have been a member, and have
// acknowledged in an earlier life what only some of them know.
func (d *driver) learnNewest(ctx context.Context, nodes []membership.Node) error {
	answers, err := d.pullAll(ctx, nodes)
	if err != nil {
		return err
	}
	slices.SortStableFunc(answers, func(a, b Knowledge) int { return cmp.Compare(b.version(), a.version()) })
	var errs []error
	for _, answer := range answers {
		errs = append(errs, d.learn(ctx, answer))
	}
	return errors.Join(errs...)
}

// pullAll asks nodes what they know. The error is nil when all have answered,
// and none with less than it says by gossip that it knows.
func (d *driver) pullAll(ctx context.Context, nodes []membership.Node) ([]Knowledge, error) {
	answers := make([]Knowledge, len(nodes))
	err := each(nodes, func(i int) (err error) {
		answers[i], err = d.ask(ctx, nodes[i].Name, Pull, Knowledge{Clock: d.clock.Last()})
		if err == nil && answers[i].version() < nodes[i].Ring {
			err = fmt.Errorf("%s knows ring %d, and says nothing of it", nodes[i].Name, nodes[i].Ring)
		}
		return err
	})
	return answers, err
}

// others returns the names of all members but this node.
func (d *driver) others(s *State) []string {
	var out []string
	for _, m := range s.Ring.Members() {
		if m.Name != d.cfg.Name {
			out = append(out, m.Name)
		}
	}
	return out
}

// complain logs what is not possible yet, at most once a minute for each kind.
func (d *driver) complain(what string, err error) {
	if err == nil || time.Since(d.complaints[what]) < time.Minute {
		return
	}
	d.complaints[what] = time.Now()
	d.logger.Info(what, "reason", err)
}

// up reports whether a node can be asked. A suspect may be there.
func up(n membership.Node) bool {
	return n.Status != membership.Down
}

// each runs do for the indexes of all nodes at once, and returns its errors
// joined.
func each[T any](nodes []T, do func(i int) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
