package topology

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
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
	d := driver{Keeper: k, began: time.Now()}
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
	began     time.Time
	joinSeen  time.Time // when the nodes that wait to join were first seen
	announced *State    // what gossip was last told
	complaint string    // the last thing logged as not possible yet
}

// step does the next thing that there is to do. What cannot be done now is
// tried again at the next tick.
func (d *driver) step(ctx context.Context) {
	view := d.pool.View()
	d.catchUp(ctx, view)
	s := d.State()
	d.announce(s)
	switch {
	case s == nil:
		d.found(view)
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

// announce tells the pool what this node knows of the ring.
func (d *driver) announce(s *State) {
	if s == nil || s == d.announced {
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

// catchUp learns from whoever knows a newer ring. A node that knows none asks
// every one that does: the newest counts, for the others may be behind.
func (d *driver) catchUp(ctx context.Context, view *membership.View) {
	known := uint64(0)
	if s := d.State(); s != nil {
		known = s.Version()
	}
	var ahead []string
	for _, n := range view.Nodes() {
		if n.Name != d.cfg.Name && n.Ring > known && up(n) {
			ahead = append(ahead, n.Name)
		}
	}
	if err := each(ahead, func(node string) error { return d.Refresh(ctx, node) }); err != nil {
		d.complain("learn the newest ring", err)
	}
}

// found writes version 1 when this node may, and nobody else has or will.
func (d *driver) found(view *membership.View) {
	if !d.cfg.Founder || !d.pool.Joined() || time.Since(d.began) < d.cfg.FoundingWait {
		return
	}
	self, _ := view.Find(d.cfg.Name)
	for _, n := range view.Nodes() {
		if n.Name == d.cfg.Name || !up(n) {
			continue
		}
		if n.Ring > 0 || n.Founding && n.Name < d.cfg.Name {
			return
		}
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: see its documentation
	record := ring.Record{
		Version:    1,
		Cluster:    hex.EncodeToString(id[:]),
		Partitions: d.cfg.Partitions,
		Replicas:   1,
		Members:    []ring.Member{{Name: d.cfg.Name, Weight: max(1, self.Weight), Zone: self.Zone}},
	}
	d.logger.Info("founding a cluster", "cluster", record.Cluster)
	if err := d.adopt([]ring.Record{record}, 1); err != nil {
		d.logger.Error("found a cluster", "error", err)
	}
}

// settle asks every member to acknowledge the version, and, when all have,
// tells them that it is settled.
func (d *driver) settle(ctx context.Context, s *State) {
	others := d.others(s)
	err := each(others, func(node string) error { return d.offer(ctx, node) })
	if err == nil {
		err = d.drain(ctx)
	}
	if err != nil {
		d.complain("ring version waits for acknowledgements", err)
		return
	}
	if err := d.adopt(s.history(), s.Version()); err != nil {
		d.logger.Error("settle the ring", "error", err)
		return
	}
	// Whoever misses this asks by itself.
	d.complain("tell that the ring is settled",
		each(others, func(node string) error { return d.offer(ctx, node) }))
}

// extend writes the next version when nodes wait to join and every member is
// up to acknowledge it. Nodes that come together are taken in together: it
// waits a tick for more.
func (d *driver) extend(ctx context.Context, s *State, view *membership.View) {
	waiting := joiners(s, view)
	if len(waiting) == 0 {
		d.joinSeen = time.Time{}
		return
	}
	if d.joinSeen.IsZero() {
		d.joinSeen = time.Now()
	}
	if time.Since(d.joinSeen) < d.cfg.Tick {
		return
	}
	if down := absent(s, view); len(down) > 0 {
		d.complain("nodes wait to join until every member is up",
			errors.New("down: "+down[0]))
		return
	}
	next := s.Ring.Record()
	next.Version++
	var mu sync.Mutex // guards next.Members
	err := each(names(waiting), func(node string) error {
		if err := d.offer(ctx, node); err != nil {
			return err
		}
		n, _ := view.Find(node)
		mu.Lock()
		defer mu.Unlock()
		next.Members = append(next.Members, ring.Member{Name: node, Weight: max(1, n.Weight), Zone: n.Zone})
		return nil
	})
	if err != nil {
		d.complain("a node that wants to join does not answer", err)
	}
	if len(next.Members) == len(s.Ring.Members()) {
		return
	}
	slices.SortFunc(next.Members, func(a, b ring.Member) int { return strings.Compare(a.Name, b.Name) })
	if err := d.adopt(append(s.history(), next), s.Version()); err != nil {
		d.logger.Error("take in new members", "error", err)
		return
	}
	d.joinSeen = time.Time{}
}

// joiners returns the nodes that are up, belong to no other cluster and are
// not in the ring.
func joiners(s *State, view *membership.View) []membership.Node {
	var out []membership.Node
	for _, n := range view.Nodes() {
		ours := n.Cluster == "" || n.Cluster == s.Cluster()
		if up(n) && ours && !n.Leaving && s.Ring.Index(n.Name) < 0 {
			out = append(out, n)
		}
	}
	return out
}

// absent returns the names of the ring's members that are not up.
func absent(s *State, view *membership.View) []string {
	var out []string
	for _, m := range s.Ring.Members() {
		if n, ok := view.Find(m.Name); !ok || !up(n) {
			out = append(out, m.Name)
		}
	}
	return out
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

// complain logs what is not possible yet, once until it changes.
func (d *driver) complain(what string, err error) {
	if err == nil {
		return
	}
	if text := what + err.Error(); text != d.complaint {
		d.complaint = text
		d.logger.Info(what, "reason", err)
	}
}

// up reports whether a node can be asked.
func up(n membership.Node) bool {
	return n.Status != membership.Down
}

func names(nodes []membership.Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	return out
}

// each runs do for all nodes at once and returns their errors joined.
func each(nodes []string, do func(node string) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { errs[i] = do(node) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
