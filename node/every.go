package node

import (
	"context"
	"time"
)

// every does something at once and then at an interval, until ctx ends. What it
// is that fails is logged when it begins to.
func (n *Node) every(ctx context.Context, interval time.Duration, complaint string, do func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for failing := false; ; {
		err := do(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			n.logger.Warn(complaint, "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
