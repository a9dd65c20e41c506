package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/ring"
)

// write has a node coordinate a write of a partition, and reports whether it is
// acknowledged.
func (w *world) write(name string, partition int) bool {
	w.mu.Lock()
	w.writes++
	value := w.writes
	k := w.places[name].keeper
	w.mu.Unlock()
	s := k.Acquire()
	if s == nil {
		return false
	}
	defer s.Release()
	if s.Self < 0 || !s.Confirmed {
		return false
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	var mu sync.Mutex
	got := map[uint64]bool{}
	var wg sync.WaitGroup
	for _, m := range replicasOf(s, partition) {
		wg.Go(func() {
			apply := func(to *place) error { return to.apply(ctx, m, name, s.Version(), partition, value) }
			var err error
			if m.Name == name {
				err = apply(w.places[name])
			} else {
				err = w.travel(ctx, name, m.Name, "apply", apply)
			}
			mu.Lock()
			defer mu.Unlock()
			got[m.Storage] = err == nil
		})
	}
	wg.Wait()
	for _, r := range s.Live {
		n := 0
		for _, i := range r.Replicas(partition) {
			if got[r.Members()[i].Storage] {
				n++
			}
		}
		if n < quorum(len(r.Replicas(partition))) {
			return false
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked[partition] = max(w.acked[partition], value)
	return true
}

// replicasOf returns the replicas of a partition under all live versions.
func replicasOf(s *State, partition int) []ring.Member {
	var out []ring.Member
	for _, r := range s.Live {
		for _, i := range r.Replicas(partition) {
			if m := r.Members()[i]; !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

var errStale = errors.New("stale")

// apply is what a replica does with a write.
func (p *place) apply(ctx context.Context, meant ring.Member, from string, stamp uint64, partition, value int) error {
	if p.storage != meant.Storage {
		return errForeign
	}
	if s := p.keeper.State(); s == nil || s.Version() < stamp {
		if err := p.keeper.Refresh(ctx, from); err != nil {
			return err
		}
	}
	p.data.fence.RLock()
	defer p.data.fence.RUnlock()
	s := p.keeper.State()
	if s == nil || s.Version() < stamp || s.RefusesWrite(stamp) {
		return errStale
	}
	p.data.raise(partition, value)
	return nil
}

// shelf is the entries of a node: a value for each partition. It implements
// Data.
type shelf struct {
	w  *world
	at *place

	mu      sync.Mutex // guards what follows
	values  []int
	emptied []int
	cleaned []int
	asked   []uint64 // versions that Compare was called for
	block   bool     // Compare does not end before its context
	linger  bool     // Clean neither

	compared map[string]bool // by Compare, which is not called twice at once

	fence sync.RWMutex // held shared while something is applied
}

func newShelf(w *world) *shelf {
	return &shelf{w: w, values: make([]int, worldPartitions), compared: map[string]bool{}}
}

func (d *shelf) get(partition int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.values[partition]
}

func (d *shelf) raise(partition, value int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[partition] = max(d.values[partition], value)
}

// Empty implements Data.
func (d *shelf) Empty(_ context.Context, partitions []int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.emptied = append(d.emptied, partitions...)
	for _, p := range partitions {
		d.values[p] = 0
	}
	return nil
}

// Compare implements Data.
func (d *shelf) Compare(ctx context.Context, version uint64, tasks []Task) error {
	d.mu.Lock()
	d.asked = append(d.asked, version)
	block := d.block
	d.mu.Unlock()
	if d.at.keeper.State().Seal < version {
		return fmt.Errorf("asked to compare for ring %d, which this node is not sealed for", version)
	}
	d.settle()
	if block {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, task := range tasks {
		for _, g := range task.Groups {
			at := fmt.Sprint(version, g.Version, task.Partition)
			if d.compared[at] {
				continue
			}
			if err := d.compare(ctx, version, task.Partition, g); err != nil {
				return err
			}
			d.compared[at] = true
		}
	}
	return nil
}

// settle waits until all that was let in before has been applied.
func (d *shelf) settle() {
	d.fence.Lock()
	defer d.fence.Unlock()
}

func (d *shelf) compare(ctx context.Context, version uint64, partition int, g Group) error {
	met := 0
	var last error
	for _, m := range g.Members {
		if met == g.Need {
			return nil
		}
		ask, cancel := context.WithTimeout(ctx, 3*time.Second)
		last = d.w.travel(ask, d.at.name, m.Name, "compare", func(to *place) error {
			switch s := to.keeper.State(); {
			case to.storage != m.Storage:
				return errForeign
			case s == nil || s.Version() < version:
				if err := to.keeper.Refresh(ask, d.at.name); err != nil {
					return err
				}
			}
			if err := to.keeper.Seal(ask, version); err != nil {
				return err
			}
			to.data.settle()
			if to.keeper.State().Oldest() > g.Version {
				return errStale
			}
			d.raise(partition, to.data.get(partition))
			return nil
		})
		cancel()
		if last == nil {
			met++
		}
	}
	if met < g.Need {
		return fmt.Errorf("partition %d of ring %d: %w", partition, g.Version, last)
	}
	return nil
}

// Clean implements Data.
func (d *shelf) Clean(ctx context.Context, _ *State, partitions []int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.linger {
		d.mu.Unlock()
		<-ctx.Done()
		d.mu.Lock()
		return ctx.Err()
	}
	d.cleaned = append(d.cleaned, partitions...)
	for _, p := range partitions {
		d.values[p] = 0
	}
	return nil
}
