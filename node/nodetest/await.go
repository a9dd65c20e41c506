package nodetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/ring"
)

// How often a condition is looked at, and one that takes a look at all entries.
const (
	pollEvery    = 20 * time.Millisecond
	compareEvery = 500 * time.Millisecond
)

// Await waits until holds returns nil, and fails the test with its error where
// that takes longer than [Options].Patience.
func (c *Cluster) Await(what string, holds func() error) {
	c.t.Helper()
	if err := c.await(pollEvery, holds); err != nil {
		c.t.Fatalf("waited %v for %s: %v", c.opts.Patience, what, err)
	}
}

// await returns the last error of holds where it does not become nil.
func (c *Cluster) await(every time.Duration, holds func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	late := time.NewTimer(c.opts.Patience)
	defer late.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-late.C:
			return err
		}
	}
}

// Pass lets time pass.
func (c *Cluster) Pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// AwaitSettled waits until all live nodes agree on a settled ring of exactly
// [Cluster.Members], are ready, and see each other up.
func (c *Cluster) AwaitSettled() {
	c.t.Helper()
	c.Await("a settled ring", c.settled)
}

func (c *Cluster) settled() error {
	want := c.Members()
	// Whoever runs and is no member is on its way out.
	live := slices.DeleteFunc(c.Live(), func(name string) bool { return !slices.Contains(want, name) })
	var version uint64
	for _, name := range live {
		n := c.Node(name)
		if err := n.Ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r := n.Ring()
		if got := memberNames(r); !slices.Equal(got, want) {
			return fmt.Errorf("ring %d of %s has %v, want %v", r.Version(), name, got, want)
		}
		if version != 0 && r.Version() != version {
			return fmt.Errorf("ring %d of %s, another has %d", r.Version(), name, version)
		}
		version = r.Version()
		ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
		st, err := n.Status(ctx)
		cancel()
		switch {
		case err != nil:
			return fmt.Errorf("status of %s: %w", name, err)
		case st.Change != nil:
			return fmt.Errorf("%s: ring %d waits for %v", name, st.Change.To, st.Change.WaitingFor)
		}
		for _, m := range st.Members {
			if m.Status != string(membership.Alive) && slices.Contains(live, m.Name) {
				return fmt.Errorf("%s: %s is %s", name, m.Name, m.Status)
			}
		}
	}
	return nil
}

func memberNames(r *ring.Ring) []string {
	var out []string
	for _, m := range r.Members() {
		out = append(out, m.Name)
	}
	slices.Sort(out)
	return out
}

// Converge waits until [Cluster.CheckSame] holds.
func (c *Cluster) Converge() {
	c.t.Helper()
	if err := c.await(compareEvery, c.CheckSame); err != nil {
		c.t.Fatalf("waited %v for the replicas to hold the same: %v", c.opts.Patience, err)
	}
}

// CheckSame returns an error unless all replicas of each partition hold the
// same entries, tombstones included. It reads the stores themselves, of the
// members whose processes run.
func (c *Cluster) CheckSame() error {
	live := c.Live()
	var newest *ring.Ring
	held := make(map[string]contents)
	for _, name := range live {
		if r := c.Node(name).Ring(); r != nil && (newest == nil || r.Version() > newest.Version()) {
			newest = r
		}
	}
	if newest == nil {
		return errors.New("no live node knows a ring")
	}
	var errs []error
	for p := range newest.Partitions() {
		clear(held)
		for _, at := range newest.Replicas(p) {
			name := newest.Members()[at].Name
			if !slices.Contains(live, name) {
				continue
			}
			found, err := scan(c.Store(name), p)
			if err != nil {
				return fmt.Errorf("scan %s: %w", name, err)
			}
			held[name] = found
		}
		if err := differ(held); err != nil && len(errs) < 3 {
			errs = append(errs, fmt.Errorf("partition %d: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// contents is what a store holds of a partition: all of an entry but its key,
// as text, by key.
type contents map[string]string

func scan(s *kv.Memory, partition int) (contents, error) {
	out := make(contents)
	err := s.Scan(context.Background(), partition, nil, func(e *kv.Entry) bool {
		out[string(e.Key)] = fmt.Sprintf("%s %q %q expires=%d deleted=%v",
			e.Version, e.Value, e.ContentType, e.Expires, e.Deleted)
		return true
	})
	return out, err
}

// differ returns an error that says how the contents of several stores
// differ, nil where they do not.
func differ(held map[string]contents) error {
	names := slices.Sorted(maps.Keys(held))
	for _, one := range names {
		for _, other := range names {
			mine, theirs := held[one], held[other]
			for _, key := range slices.Sorted(maps.Keys(mine)) {
				entry := mine[key]
				switch found, ok := theirs[key]; {
				case !ok:
					return fmt.Errorf("%q is %s on %s and absent on %s", key, entry, one, other)
				case found != entry:
					return fmt.Errorf("%q is %s on %s and %s on %s", key, entry, one, found, other)
				}
			}
		}
	}
	return nil
}
