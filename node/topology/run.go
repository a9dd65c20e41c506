package topology

import (
	"context"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// Run keeps the knowledge of the ring up to date until ctx ends: it learns from
// the other nodes, founds a cluster where it may, takes its part in changes, and
// proposes them where it is this node's turn. The error is nil then, or wraps
// ErrRemoved or ErrSetBack.
func (k *Keeper) Run(ctx context.Context) error {
	changed, stop := k.pool.Watch()
	defer stop()
	tick := time.NewTicker(k.cfg.Tick)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(ctx)
	d := &driver{
		Keeper: k, began: time.Now(), down: map[uint64]time.Time{},
		talks: talks{busy: map[string]bool{}, told: map[string]mark{}, failed: map[string]time.Time{}},
	}
	var working sync.WaitGroup
	working.Go(func() { k.keepSyncing(ctx) })
	working.Go(func() { k.keepCleaning(ctx) })
	defer func() {
		cancel()
		working.Wait()
		d.talks.running.Wait()
	}()
	for {
		if err := d.step(ctx); err != nil {
			return err
		}
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
	began  time.Time
	wanted time.Time            // since when there is something to propose; zero: there is not
	down   map[uint64]time.Time // since when members are down
	talked time.Time            // when members were last asked at random
	talks  talks
}

// step does what there is to do now. What cannot be done is tried again at the
// next tick. Its error ends Run.
func (d *driver) step(ctx context.Context) error {
	d.complain("gossip of the ring version", d.announce())
	if !d.pool.Joined() {
		return d.failed() // the name may be another's, and with it the place in the ring
	}
	view := d.pool.View()
	d.listen(ctx, view)
	d.ack(ctx)
	d.confirm(ctx)
	d.complain("gossip of the ring version", d.announce())
	d.talk(ctx, view)
	if err := d.out(view); err != nil {
		return err
	}
	switch s := d.State(); {
	case s == nil:
		d.found(ctx, view)
	case s.Self >= 0 && s.Confirmed:
		d.extend(ctx, s, view)
	}
	return d.failed()
}

// listen takes over how far others say by gossip that they are.
func (d *driver) listen(ctx context.Context, view *membership.View) {
	l := d.ledger()
	heard := map[uint64]Numbers{}
	for _, n := range view.Nodes() {
		if n.Storage == d.cfg.Storage || n.Storage == 0 || l.hi() == 0 || n.Cluster != l.newest().Cluster || !l.lives(n.Storage) {
			continue
		}
		said := Numbers{Ack: n.Ack, Sync: n.Sync, Done: n.Done}
		if mine := l.Numbers[n.Storage]; mine.merge(said) != mine {
			heard[n.Storage] = said
		}
	}
	if len(heard) == 0 {
		return
	}
	err := d.update(ctx, func(l *ledger) error { return l.mergeNumbers(heard) })
	d.complain("take over what gossip says of the ring", err)
}

// ack acknowledges the newest version that all requests which are running were
// admitted under.
func (d *driver) ack(ctx context.Context) {
	v := d.ackable()
	if l := d.ledger(); !l.takesPart() || l.own().Ack >= v {
		return
	}
	err := d.update(ctx, func(l *ledger) error {
		l.raise(Numbers{Ack: v})
		return nil
	})
	d.complain("acknowledge the ring version", err)
}

// heard notes that a node knows no newer version than this one does.
func (k *Keeper) heard(in *Knowledge) {
	hi := k.ledger().hi()
	if k.confirmed.Load() || hi == 0 || in.version() != hi {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.agree[in.Storage] = hi
}

// confirm finds out whether a majority of the newest version's members knows
// no newer one.
func (d *driver) confirm(ctx context.Context) {
	s := d.State()
	if s == nil || s.Confirmed {
		return
	}
	agree := map[uint64]bool{d.cfg.Storage: true}
	d.mu.Lock()
	for storage, version := range d.agree {
		agree[storage] = version == s.Version()
	}
	d.mu.Unlock()
	if !majority(s.ledger.newest(), agree) {
		return
	}
	d.confirmed.Store(true)
	if acquire(ctx, d.changing) != nil {
		return
	}
	defer func() { <-d.changing }()
	now := d.State()
	d.publish(now.ledger, now.Live)
}

// out finds out whether this node is out of the ring, and nobody needs it any
// more.
func (d *driver) out(view *membership.View) error {
	s := d.State()
	if s == nil {
		return nil
	}
	removed, forgotten := s.ledger.removed(d.cfg.Storage)
	switch {
	case forgotten:
		return ErrRemoved
	case !removed || s.holds() || !d.toldAll(s, view):
		return nil
	case !d.leaving.Load():
		return ErrRemoved // an earlier process has left
	}
	d.leftOnce.Do(func() { close(d.left) })
	return nil
}

// up reports whether a node can be asked. A suspect may be there.
func up(n membership.Node) bool {
	return n.Status != membership.Down
}

// isUp reports whether a member is up: not just its name.
func isUp(view *membership.View, m ring.Member) bool {
	n, ok := view.Find(m.Name)
	return ok && up(n) && n.Storage == m.Storage
}
