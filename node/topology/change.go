package topology

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// settle asks every member to acknowledge the version, and, when all have,
// tells them that it is settled.
//
// A member that restarts forgets what it acknowledged. So they are asked
// twice: where none restarted in between, there was a moment at which all knew
// the version, and whoever restarts after it hears of it from any other.
func (d *driver) settle(ctx context.Context, s *State) {
	others := d.others(s)
	lives, err := d.offerAll(ctx, others)
	if err == nil {
		err = d.drain(ctx)
	}
	if err == nil {
		var again []uint64
		if again, err = d.offerAll(ctx, others); err == nil && !slices.Equal(lives, again) {
			err = errors.New("a member has restarted meanwhile")
		}
	}
	if err != nil {
		d.complain("ring version waits for acknowledgements", err)
		return
	}
	if err := d.adopt(ctx, s.history(), s.Version()); err != nil {
		d.logger.Error("settle the ring", "error", err)
		return
	}
	// Whoever misses this asks by itself.
	_, err = d.offerAll(ctx, others)
	d.complain("tell that the ring is settled", err)
}

// offerAll offers what this node knows to all nodes at once. It returns which
// lives of theirs have acknowledged it, and an error unless all have.
func (d *driver) offerAll(ctx context.Context, nodes []string) ([]uint64, error) {
	lives := make([]uint64, len(nodes))
	err := each(nodes, func(i int) (err error) {
		lives[i], err = d.offer(ctx, nodes[i])
		return err
	})
	return lives, err
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
	if down := Absent(s, view); len(down) > 0 {
		d.complain("nodes wait to join until every member is up",
			errors.New("down: "+down[0]))
		return
	}
	// After a restart this node may know less than the others: they say so now.
	if _, err := d.offerAll(ctx, d.others(s)); err != nil {
		d.complain("nodes wait to join until every member has acknowledged the ring", err)
		return
	}
	next := s.Ring.Record()
	next.Version++
	for _, n := range d.answering(ctx, waiting) {
		next.Members = append(next.Members, ring.Member{Name: n.Name, Weight: max(1, n.Weight), Zone: n.Zone})
	}
	if len(next.Members) == len(s.Ring.Members()) {
		return
	}
	slices.SortFunc(next.Members, func(a, b ring.Member) int { return strings.Compare(a.Name, b.Name) })
	if err := d.adopt(ctx, append(s.history(), next), s.Version()); err != nil {
		d.logger.Error("take in new members", "error", err)
		return
	}
	d.joinSeen = time.Time{}
}

// answering returns those of the nodes that acknowledge the ring as it is, and
// so can take part in the next.
func (d *driver) answering(ctx context.Context, nodes []membership.Node) []membership.Node {
	answered := make([]bool, len(nodes))
	err := each(nodes, func(i int) error {
		_, err := d.offer(ctx, nodes[i].Name)
		answered[i] = err == nil
		return err
	})
	d.complain("a node that wants to join does not answer", err)
	var out []membership.Node
	for i, n := range nodes {
		if answered[i] {
			out = append(out, n)
		}
	}
	return out
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

// Absent returns the names of the ring's members that are not up, in the
// ring's order: those that a change waits for.
func Absent(s *State, view *membership.View) []string {
	var out []string
	for _, m := range s.Ring.Members() {
		if n, ok := view.Find(m.Name); !ok || !up(n) {
			out = append(out, m.Name)
		}
	}
	return out
}
