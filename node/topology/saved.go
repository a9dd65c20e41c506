package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
)

const (
	// savedName is what a Knowledge is saved under in the node's store.
	savedName = "ring"
	// saveTimeout bounds one attempt to save it.
	saveTimeout = 5 * time.Second
)

// Load reads what an earlier process over the same store knew of the ring, and
// lets the pool know of it; Run then resumes there. It is called before Run,
// if at all. Its error says that the store cannot be read, or holds what no
// keeper has saved.
func (k *Keeper) Load(ctx context.Context) error {
	if k.meta == nil {
		return nil
	}
	data, err := k.meta.LoadMeta(ctx, savedName)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load the ring: %w", err)
	}
	saved := new(Knowledge)
	if err := json.Unmarshal(data, saved); err != nil {
		return fmt.Errorf("load the ring: %w: %w", kv.ErrCorrupt, err)
	}
	if len(saved.History) == 0 {
		return fmt.Errorf("load the ring: %w: no version of it was saved", kv.ErrCorrupt)
	}
	if err := check(saved.History); err != nil {
		return fmt.Errorf("load the ring: %w: %w", kv.ErrCorrupt, err)
	}
	k.mu.Lock()
	k.saved = saved
	k.mu.Unlock()
	newest := saved.History[len(saved.History)-1]
	return k.pool.Update(func(f *membership.Facts) {
		f.Cluster, f.Ring = newest.Cluster, newest.Version
	})
}

// pending returns what Load has read and nobody has taken up yet, or nil.
func (k *Keeper) pending() *Knowledge {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.saved
}

// resume takes up what Load has read, or what a node that is up knows beyond
// it, once it is certain that the node's name, and with it the place in the
// ring, is not another's by now. All who are up are asked, for a store that is
// not ours may have been set back to an older state. It reports whether nothing
// is left to take up.
func (d *driver) resume(ctx context.Context, view *membership.View) bool {
	saved := d.pending()
	if saved == nil {
		return true
	}
	if !d.pool.Joined() {
		return false
	}
	newest := *saved
	answers, err := d.pullAll(ctx, d.ahead(view, 1))
	for _, a := range answers {
		d.clock.Observe(a.Clock)
		if a.version() > newest.version() || a.Settled > newest.Settled && sameHistory(a.History, newest.History) {
			newest = a
		}
	}
	if err == nil {
		d.clock.Observe(saved.Clock)
		err = d.learn(ctx, newest)
	}
	d.complain("resume with the ring of the last run", err)
	return err == nil
}

// isSaved reports whether a state is what Load has read: then it is in the
// store already, which may be full.
func (k *Keeper) isSaved(s *State) bool {
	saved, now := k.pending(), k.told(s)
	return saved != nil && now.Settled == saved.Settled && sameHistory(now.History, saved.History)
}

// save keeps what this keeper is about to know where its entries are, so that
// a process that comes later over the same store has acknowledged what this
// one has.
func (k *Keeper) save(ctx context.Context, s *State) error {
	if k.meta == nil {
		return nil
	}
	data, err := json.Marshal(k.told(s))
	if err != nil {
		return fmt.Errorf("save the ring: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := k.meta.SaveMeta(ctx, savedName, data); err != nil {
		return fmt.Errorf("save the ring: %w", err)
	}
	return nil
}
