package topology

import (
	"slices"

	"github.com/thunderdb/thunderdb/ring"
)

// quorum returns how many of n replicas a write needs: a majority.
func quorum(n int) int { return n/2 + 1 }

// meeting returns how many of n replicas have one in common with every set that
// a write was acknowledged by.
func meeting(n int) int { return n - quorum(n) + 1 }

// plan returns what the node with a storage identity has to compare to sync the
// last of live, which begins with the version that reads use. Sources that are
// up come first, and those that are gone not at all.
func plan(self uint64, live []*ring.Ring, gone func(storage uint64) bool, up func(ring.Member) bool) []Task {
	to := live[len(live)-1]
	at := to.IndexOf(self)
	if at < 0 {
		return nil
	}
	var tasks []Task
	for p := range to.Partitions() {
		if !to.Holds(p, at) {
			continue
		}
		task := Task{Partition: p}
		for _, from := range live[:len(live)-1] {
			g := group(self, p, from, gone, up)
			if baseOf(from, to) {
				// What is gone was given up: whoever is left is all there is.
				g.Need = min(g.Need, len(g.Members))
			}
			if g.Need > 0 {
				task.Groups = append(task.Groups, g)
			}
		}
		if len(task.Groups) > 0 {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// baseOf reports whether one version is of an older generation than another.
func baseOf(from, to *ring.Ring) bool { return from.Cluster() != to.Cluster() }

// group returns the other replicas of a partition under a version.
func group(self uint64, p int, from *ring.Ring, gone func(uint64) bool, up func(ring.Member) bool) Group {
	replicas := from.Replicas(p)
	g := Group{Version: from.Version(), Need: meeting(len(replicas))}
	for _, i := range replicas {
		switch m := from.Members()[i]; {
		case m.Storage == self:
			g.Need--
		case !gone(m.Storage):
			g.Members = append(g.Members, m)
		}
	}
	slices.SortStableFunc(g.Members, func(a, b ring.Member) int {
		switch {
		case up(a) == up(b):
			return 0
		case up(a):
			return -1
		}
		return 1
	})
	return g
}

// enough reports whether every partition keeps so many replicas of each version
// that they meet every write that was acknowledged under it.
func enough(live []*ring.Ring, gone func(storage uint64) bool) bool {
	for _, r := range live {
		for p := range r.Partitions() {
			replicas, left := r.Replicas(p), 0
			for _, i := range replicas {
				if !gone(r.Members()[i].Storage) {
					left++
				}
			}
			if left < meeting(len(replicas)) {
				return false
			}
		}
	}
	return true
}

// moved returns the partitions that a storage identity holds under a version of
// to and under none of from, and those of which the opposite is true.
func moved(self uint64, from, to []*ring.Ring) (gained, lost []int) {
	before, after := holdings(self, from), holdings(self, to)
	for p := range max(len(before), len(after)) {
		was := p < len(before) && before[p]
		is := p < len(after) && after[p]
		switch {
		case is && !was:
			gained = append(gained, p)
		case was && !is:
			lost = append(lost, p)
		}
	}
	return gained, lost
}

// holdings returns, by partition, whether a storage identity holds it under any
// of rings; nil where there are none.
func holdings(self uint64, rings []*ring.Ring) []bool {
	if len(rings) == 0 {
		return nil
	}
	out := make([]bool, rings[0].Partitions())
	for _, r := range rings {
		at := r.IndexOf(self)
		if at < 0 || r.Held(at) == 0 {
			continue
		}
		for p := range out {
			out[p] = out[p] || r.Holds(p, at)
		}
	}
	return out
}
