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
	// savedName is what a ledger is saved under in the node's store.
	savedName = "ring"
	// saveTimeout bounds one attempt to save it.
	saveTimeout = 5 * time.Second
)

// Load reads what an earlier process over the same store knew of the ring, and
// lets the pool know of it; Run then resumes there. What was saved under
// another identity of the store counts for nothing. It is called before Run, if
// at all. Its error says that the store cannot be read, or holds what no keeper
// has saved, or the ring of a cluster with another number of partitions.
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
	saved := new(ledger)
	if err := json.Unmarshal(data, saved); err != nil {
		return fmt.Errorf("load the ring: %w: %w", kv.ErrCorrupt, err)
	}
	if saved.Storage != 0 && saved.Storage != k.cfg.Storage {
		return nil
	}
	saved = saved.clone() // which has numbers
	if err := saved.checkSaved(); err != nil {
		return fmt.Errorf("load the ring: %w: %w", kv.ErrCorrupt, err)
	}
	rings, err := build(saved.Records, nil)
	if err != nil {
		return fmt.Errorf("load the ring: %w: %w", kv.ErrCorrupt, err)
	}
	if err := saved.checkPartitions(k.cfg.Partitions); err != nil {
		return fmt.Errorf("load the ring: %w", err)
	}
	k.publish(saved, rings)
	return k.announce()
}

// checkSaved returns an error unless a ledger is one that was saved.
func (l *ledger) checkSaved() error {
	switch {
	case l.Storage == 0:
		return errors.New("it is of no store")
	case len(l.Records) == 0:
		return errors.New("no version of it was saved")
	case l.Read < l.lo() || l.Read > l.hi():
		return fmt.Errorf("reads use version %d of %d to %d", l.Read, l.lo(), l.hi())
	}
	return check(l.Records)
}

// save keeps a ledger, so that a process that comes later over the same store
// has promised what this one has.
func (k *Keeper) save(ctx context.Context, l *ledger) error {
	if k.meta == nil {
		return nil
	}
	data, err := json.Marshal(l)
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

// announce tells the pool what this node knows, and how far it is.
func (k *Keeper) announce() error {
	s := k.State()
	return k.pool.Update(func(f *membership.Facts) {
		f.Storage = k.cfg.Storage
		if s == nil {
			return
		}
		own := s.Own()
		if s.Confirmed || s.holds() {
			// Others may have told it of a generation that was given up: as long
			// as it holds nothing it is not bound to that.
			f.Cluster = s.Cluster()
		}
		f.Ring, f.Founding = s.Version(), false
		f.Member = s.Self >= 0 && s.Confirmed
		f.Ack, f.Sync, f.Done = own.Ack, own.Sync, own.Done
	})
}
