package node

import (
	"context"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// Sweeping examines sweepBudget entries each sweepInterval.
const (
	sweepInterval = time.Second
	sweepBudget   = 20_000
)

// sweep gives back the space of expired entries until ctx ends, where the
// store does not do it by itself. Whether an entry is live does not depend on
// it.
func (n *Node) sweep(ctx context.Context) error {
	expirer, ok := n.store.(kv.Expirer)
	if !ok {
		return nil
	}
	return n.every(ctx, sweepInterval, "expired entries are not swept for now", func(ctx context.Context) error {
		_, err := expirer.Expire(ctx, n.clock.Now(), sweepBudget)
		return err
	})
}
