package nodetest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
)

// What happens to a store behind its node's back: nobody is told, and no
// digest follows.

// Lose takes away every entry that a node's store holds, and leaves it what it
// knows of itself and of the cluster. It returns how many there were.
func (c *Cluster) Lose(name string) int {
	c.t.Helper()
	held := c.entries(name)
	c.purge(name, held)
	return len(held)
}

// Alter makes every entry that a node's store holds an older one with another
// value, as if it had missed the last write. It returns how many there were.
func (c *Cluster) Alter(name string) int {
	c.t.Helper()
	held := c.entries(name)
	c.purge(name, held)
	for i := range held {
		held[i].Version.Time--
		held[i].Value, held[i].Deleted = []byte("altered"), false
	}
	if err := c.Store(name).Apply(context.Background(), held, nil); err != nil {
		c.t.Fatalf("alter the store of %s: %v", name, err)
	}
	return len(held)
}

func (c *Cluster) entries(name string) []kv.Entry {
	c.t.Helper()
	var held []kv.Entry
	for p := range c.opts.Partitions {
		err := c.Store(name).Scan(context.Background(), p, nil, func(e *kv.Entry) bool {
			own := *e
			own.Key, own.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
			held = append(held, own)
			return true
		})
		if err != nil {
			c.t.Fatalf("scan the store of %s: %v", name, err)
		}
	}
	return held
}

func (c *Cluster) purge(name string, entries []kv.Entry) {
	c.t.Helper()
	refs := make([]kv.Ref, len(entries))
	for i := range entries {
		refs[i] = kv.Ref{Key: entries[i].Key, Version: entries[i].Version}
	}
	if err := c.Store(name).Purge(context.Background(), refs, nil); err != nil {
		c.t.Fatalf("purge the store of %s: %v", name, err)
	}
}

// CheckBalanced returns an error unless the members own about the same number
// of partitions, as far as a node knows.
func (c *Cluster) CheckBalanced(through string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), c.opts.Timeout)
	defer cancel()
	st, err := c.Node(through).Status(ctx)
	if err != nil {
		return err
	}
	fair := float64(c.opts.Partitions) / float64(len(st.Members))
	for _, m := range st.Members {
		if owned := float64(m.Partitions); owned < fair/2 || owned > fair*2 {
			return fmt.Errorf("%s owns %d of %d partitions, there are %d members",
				m.Name, m.Partitions, c.opts.Partitions, len(st.Members))
		}
	}
	return nil
}
