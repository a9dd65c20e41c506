package topology

import (
	"context"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// found writes version 1 when this node may, and nobody else has or will.
func (d *driver) found(ctx context.Context, view *membership.View) {
	if !d.cfg.Founder || time.Since(d.began) < d.cfg.FoundingWait {
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
	record := ring.Record{
		Version:    1,
		Cluster:    draw(8),
		Partitions: d.cfg.Partitions,
		Replicas:   d.cfg.Replicas,
		Members:    []ring.Member{{Name: d.cfg.Name, Storage: d.cfg.Storage, Weight: max(1, self.Weight), Zone: self.Zone}},
		Cache:      d.cfg.Cache,
	}
	d.logger.Info("founding a cluster", "cluster", record.Cluster)
	d.confirmed.Store(true) // by its only member
	err := d.update(ctx, func(l *ledger) error {
		if l.hi() > 0 {
			return nil // it has learned of a ring meanwhile
		}
		l.Records, l.Read = []ring.Record{record}, 1
		l.raise(Numbers{Ack: 1, Sync: 1, Done: 1})
		return nil
	})
	if err != nil {
		d.logger.Error("found a cluster", "error", err)
	}
}
