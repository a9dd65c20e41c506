package main

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// What a node in memory holds is gone with its process. When that is asked to
// end, the node first leaves the cluster, which hands over what it holds, but:
//
//   - departTimeout bounds it, and whoever sends a second signal ends it at once;
//   - it is not tried where nobody could decide on it: alone, and where a majority
//     is down or ends as well;
//   - what could not be handed over is said.

const (
	departTimeout = 15 * time.Second
	// departPoll is how often is looked whether it makes sense to go on.
	departPoll = 250 * time.Millisecond
)

// departing is what a node that leaves is asked for.
type departing interface {
	Leave(ctx context.Context) error
	Left() <-chan struct{}
	Status(ctx context.Context) (node.Status, error)
	Stats() kv.Stats
}

// Why a node ends without having left.
var (
	errNoMajority = errors.New("a majority of the members is down")
	errSlow       = errors.New("it was not done in time")
)

// depart makes a node leave, and logs what came of it. ctx ends it early.
func depart(ctx context.Context, n departing, logger hclog.Logger) {
	held := n.Stats()
	logger.Info("leaving first, for what this node holds would be gone with it", "at_most", departTimeout,
		"keys", held.Keys, "bytes", held.Bytes)
	err := leave(ctx, n)
	switch {
	case err == nil:
		logger.Info("left the cluster, having handed over what this node held")
	case errors.Is(err, node.ErrLastMember):
		logger.Warn("this is the only member: what it holds is gone with it", "keys", held.Keys, "bytes", held.Bytes)
	default:
		logger.Warn("not everything was handed over", append(rest(n), "error", err)...)
	}
}

// leave makes a node leave, and waits until it has.
func leave(ctx context.Context, n departing) error {
	ctx, cancel := context.WithTimeoutCause(ctx, departTimeout, errSlow)
	defer cancel()
	tick := time.NewTicker(departPoll)
	defer tick.Stop()
	for {
		if !majorityUp(ctx, n) {
			return errNoMajority
		}
		// Said again and again: the others may leave first, and it be alone.
		if err := n.Leave(ctx); err != nil && !errors.Is(err, node.ErrBusy) {
			return err
		}
		select {
		case <-n.Left():
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// majorityUp reports whether more than half of those that have partitions are
// up, which includes a node that leaves.
func majorityUp(ctx context.Context, n departing) bool {
	state, err := n.Status(ctx)
	if err != nil {
		return false
	}
	up, all := 0, 0
	for i := range state.Members {
		if state.Members[i].Partitions == 0 {
			continue
		}
		all++
		if state.Members[i].Status != "down" {
			up++
		}
	}
	return 2*up > all
}

// rest returns what a node that ends has not handed over, for a log.
func rest(n departing) []any {
	held := n.Stats()
	args := []any{"keys_held", held.Keys, "bytes_held", held.Bytes}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if state, err := n.Status(ctx); err == nil && state.Change != nil {
		c := state.Change
		args = append(args, "bytes_to_move", c.BytesToMove, "bytes_moved", c.BytesMoved, "waiting_for", c.WaitingFor)
	}
	return args
}
