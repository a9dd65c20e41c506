package topology

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// found writes version 1 when this node may, and nobody else has or will.
func (d *driver) found(ctx context.Context, view *membership.View) {
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
	if err := d.adopt(ctx, []ring.Record{record}, 1); err != nil {
		d.logger.Error("found a cluster", "error", err)
	}
}
