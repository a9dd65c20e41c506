package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

func newLeaveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "Make a node hand over its data and leave the cluster",
		Long: `Leave makes the node at --addr hand over what it holds and leave the cluster;
its process ends with exit code 0. The command waits until that is done. When it
is interrupted, the node goes on leaving.`,
		Example: "  thunderdb leave --addr 10.0.0.7:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			addrs, err := cmd.Flags().GetStringSlice("addr")
			if err != nil {
				return err
			}
			if len(addrs) != 1 {
				return usageError{fmt.Errorf("--addr names %d nodes: name the one that is to leave", len(addrs))}
			}
			// What is asked again and again needs no second try.
			opts := client.Options{Tries: 1}
			c, err := newClient(cmd, opts)
			if err != nil {
				return err
			}
			defer c.Close()
			d := &departure{db: c, opts: opts, out: cmd.ErrOrStderr(), every: 300 * time.Millisecond, patience: 30 * time.Second}
			return d.run(cmd.Context())
		},
	}
}

// departure is a node on its way out, as this command watches it.
type departure struct {
	db   *client.Client // of the node
	opts client.Options // for the others
	out  io.Writer

	every    time.Duration // how often is asked
	patience time.Duration // how long after the node's end the others may take to see it gone

	node   string
	others []string  // addresses
	said   string    // the last message
	silent time.Time // since when the node does not answer, zero while it does
}

// run makes the node leave, and waits until it has.
func (d *departure) run(ctx context.Context) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		gone, err := d.look(ctx)
		if gone || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; %s goes on leaving", ctx.Err(), d.node)
		case <-tick.C:
		}
	}
}

// begin asks the node to leave, until no other change is under way.
func (d *departure) begin(ctx context.Context) error {
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		node, err := d.db.Leave(ctx)
		if !errors.Is(err, client.ErrBusy) {
			d.node = node
			return err
		}
		d.say("waiting for another change of the ring to end")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// look reports whether the node is gone, and says how far it is.
func (d *departure) look(ctx context.Context) (bool, error) {
	state, err := d.db.Cluster(ctx)
	if err == nil {
		d.silent = time.Time{}
		d.remember(state)
		if state.Change != nil {
			d.say(changing(state.Change))
		}
		return d.done(state), nil
	}
	if ctx.Err() != nil {
		return false, nil // which is for the caller to say
	}
	for _, addr := range d.others {
		if state := d.ask(ctx, addr); state != nil && d.done(state) {
			return true, nil
		}
	}
	if d.silent.IsZero() {
		d.silent = time.Now()
	}
	if time.Since(d.silent) > d.patience {
		return false, fmt.Errorf("%s does not answer, and whether it has handed everything over is not known: see thunderdb status of another node: %w",
			d.node, err)
	}
	return false, nil
}

// ask returns the state of the cluster as another node sees it, nil where it
// does not answer.
func (d *departure) ask(ctx context.Context, addr string) *client.Cluster {
	c, err := d.opts.New(addr)
	if err != nil {
		return nil
	}
	defer c.Close()
	state, err := c.Cluster(ctx)
	if err != nil {
		return nil
	}
	return state
}

// remember notes who can tell of the node when it has ended.
func (d *departure) remember(state *client.Cluster) {
	d.others = d.others[:0]
	for _, m := range state.Members {
		if m.Name != d.node && m.Status == "alive" && m.HTTP != "" {
			d.others = append(d.others, m.HTTP)
		}
	}
}

// done reports whether the node is out of the ring for good, and says so. While
// a change is under way it may still be handing over.
func (d *departure) done(state *client.Cluster) bool {
	m := state.Member(d.node)
	if state.Change != nil || m != nil && (m.Partitions > 0 || m.Status != "leaving" && m.Status != "down") {
		return false
	}
	d.say(d.node + " has left")
	return true
}

// say prints a message that was not printed last.
func (d *departure) say(text string) {
	if text == d.said {
		return
	}
	d.said = text
	// Who cannot be told still gets the exit code.
	_, _ = fmt.Fprintln(d.out, text)
}
