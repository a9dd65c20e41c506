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
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		_, err := expirer.Expire(ctx, n.clock.Now(), sweepBudget)
		if err != nil && ctx.Err() == nil && !failing {
			n.logger.Warn("expired entries are not swept for now", "error", err)
		}
		failing = err != nil
	}
}
