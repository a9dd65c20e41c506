package topology

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/membership"
)

const (
	// maxTalks is how many nodes are talked to at once.
	maxTalks = 8
	// asked is how many nodes are asked at random, and at each tick where there
	// is something to find out.
	asked = 3
)

// talks is whom this node talks to, and has talked to.
type talks struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	busy   map[string]bool
	told   map[string]mark      // what each node knows of this one
	failed map[string]time.Time // when a talk failed last
}

// mark is what others need to be told at once when it changes.
type mark struct {
	hi, lo uint64
	own    Numbers
}

func markOf(l *ledger) mark { return mark{hi: l.hi(), lo: l.lo(), own: l.own()} }

// talk exchanges knowledge: with nodes that are ahead, with all whom a change of
// this node's own concerns, and now and then with some of the others.
func (d *driver) talk(ctx context.Context, view *membership.View) {
	s := d.State()
	for _, n := range d.ahead(s, view) {
		d.talkTo(ctx, n.Name)
	}
	if s == nil {
		return
	}
	others := d.others(s, view)
	for _, name := range others {
		if !d.hasTold(s, name) {
			d.talkTo(ctx, name)
		}
	}
	if s.Settled() && s.Confirmed || time.Since(d.talked) < d.cfg.Tick {
		return
	}
	d.talked = time.Now()
	for _, at := range rand.Perm(len(others))[:min(asked, len(others))] {
		d.talkTo(ctx, others[at])
	}
}

// ahead returns some of the other nodes that are up and know a newer ring.
func (d *driver) ahead(s *State, view *membership.View) []membership.Node {
	var out []membership.Node
	for _, n := range view.Nodes() {
		if n.Name != d.cfg.Name && up(n) && n.Ring > 0 && (s == nil || n.Ring > s.Version()) {
			out = append(out, n)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(asked, len(out))]
}

// others returns the names of the other members of live versions that are up.
func (d *driver) others(s *State, view *membership.View) []string {
	var out []string
	seen := map[string]bool{d.cfg.Name: true}
	for _, r := range s.Live {
		for _, m := range r.Members() {
			if !seen[m.Name] && isUp(view, m) {
				seen[m.Name] = true
				out = append(out, m.Name)
			}
		}
	}
	return out
}

// hasTold reports whether a node knows how far this one is. Nodes that take no
// part have nothing to tell.
func (d *driver) hasTold(s *State, name string) bool {
	if _, known := s.Numbers[d.cfg.Storage]; !known {
		return true
	}
	d.talks.mu.Lock()
	defer d.talks.mu.Unlock()
	return d.talks.told[name] == markOf(s.ledger)
}

// toldAll reports whether all other members that are up know how far this node
// is.
func (d *driver) toldAll(s *State, view *membership.View) bool {
	for _, name := range d.others(s, view) {
		if !d.hasTold(s, name) {
			return false
		}
	}
	return true
}

// talkTo exchanges knowledge with a node in the background, unless that is
// under way, or has just failed.
func (d *driver) talkTo(ctx context.Context, name string) {
	t := &d.talks
	t.mu.Lock()
	defer t.mu.Unlock()
	if failed, ok := t.failed[name]; t.busy[name] || len(t.busy) >= maxTalks || ok && time.Since(failed) < d.cfg.Tick {
		return
	}
	t.busy[name] = true
	t.running.Go(func() {
		told := markOf(d.ledger())
		_, err := d.exchange(ctx, name)
		t.mu.Lock()
		delete(t.busy, name)
		if err != nil {
			t.failed[name] = time.Now()
		} else {
			delete(t.failed, name)
			t.told[name] = told
		}
		t.mu.Unlock()
		if err == nil {
			d.Behind()
		} else if ctx.Err() == nil {
			d.complain(fmt.Sprintf("talk to %s about the ring", name), err)
		}
	})
}

// Waiting returns the names of the members that a change of the ring waits for,
// in the ring's order, oldest version first: those that are behind with the
// step that is to be done next. Where no change is under way, it is the members
// that are down, if so many are that none can begin.
func (k *Keeper) Waiting(view *membership.View) []string {
	s := k.State()
	if s == nil {
		return nil
	}
	if s.Settled() {
		return missing(s, view)
	}
	v := s.Version()
	for _, number := range []func(Numbers) uint64{
		func(n Numbers) uint64 { return n.Ack },
		func(n Numbers) uint64 { return n.Sync },
		func(n Numbers) uint64 { return n.Done },
	} {
		var behind []string
		seen := map[uint64]bool{}
		for m := range s.ledger.concerned(v) {
			if !seen[m.Storage] && number(s.Numbers[m.Storage]) < v {
				behind = append(behind, m.Name)
			}
			seen[m.Storage] = true
		}
		if len(behind) > 0 {
			return behind
		}
	}
	return nil
}

// missing returns the members that are down where no majority is up.
func missing(s *State, view *membership.View) []string {
	var out []string
	for _, m := range s.Ring.Members() {
		if !isUp(view, m) && m.Storage != s.ledger.Storage {
			out = append(out, m.Name)
		}
	}
	if len(out) <= (len(s.Ring.Members())-1)/2 {
		return nil
	}
	return out
}
