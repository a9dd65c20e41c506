package ring

import (
	"cmp"
	"slices"
)

// How the table is filled.
//
//  1. Each partition is owned by the member nearest to it on the circle, as
//     long as that member is below its cap.
//  2. Each one left over is then owned by the nearest member that is still
//     below its cap. So nobody yields a partition that it is nearest to in
//     favour of one that was turned away elsewhere, and caps do not cascade.
//  3. Further replicas follow, one a partition and then the next one: the
//     nearest member below its cap, among those in the zones where the
//     partition has fewest replicas so far. Zones come before caps.
//  4. Where none of those is below its cap, the one with the least load for
//     its weight takes it.

// nearestAtFirst is how many more members than replicas are looked up for a
// partition at first. It is seldom that more are needed.
const nearestAtFirst = 3

// filler fills a table. Members are counted in the order of their names.
type filler struct {
	circle   *circle
	original []int // index in the record of each member
	weights  []uint64
	zones    []int // of each member, counted from 0
	zoned    bool  // whether there are several zones
	replicas int   // columns of the table
	table    []int
	near     [][]int  // members nearest to each partition, as far as looked up
	load     []uint64 // what each member has been given
	caps     []uint64 // how much each member should have at most
}

// fillTable returns the members of every partition in turn, as indexes into
// rec.Members. replicas is the number of them, at most that of the members.
func fillTable(rec Record, replicas int) []int {
	f := newFiller(rec, replicas)
	f.fillOwners()
	f.caps = replicaCaps(f.weights, f.zones, rec.Partitions, replicas)
	for rank := 1; rank < replicas; rank++ {
		for p := range rec.Partitions {
			f.give(p, rank, f.choose(p, rank))
		}
	}
	for i, m := range f.table {
		f.table[i] = f.original[m]
	}
	return f.table
}

func newFiller(rec Record, replicas int) *filler {
	n := len(rec.Members)
	f := &filler{
		original: make([]int, n),
		zones:    make([]int, n),
		replicas: replicas,
		table:    make([]int, rec.Partitions*replicas),
		near:     make([][]int, rec.Partitions),
		load:     make([]uint64, n),
	}
	for i := range f.original {
		f.original[i] = i
	}
	slices.SortFunc(f.original, func(a, b int) int {
		return cmp.Compare(rec.Members[a].Name, rec.Members[b].Name)
	})
	members := make([]Member, n)
	numbers := make(map[string]int)
	for i, o := range f.original {
		members[i] = rec.Members[o]
		zone, ok := numbers[members[i].Zone]
		if !ok {
			zone = len(numbers)
			numbers[members[i].Zone] = zone
		}
		f.zones[i] = zone
	}
	f.zoned = len(numbers) > 1
	f.weights = scaledWeights(members)
	f.circle = newCircle(members, f.weights, rec.Partitions)
	f.caps = ownerCaps(f.weights, rec.Partitions)
	for p := range f.near {
		f.lookUp(p, replicas+nearestAtFirst)
	}
	return f
}

// lookUp makes near[p] as long as k, or as there are members.
func (f *filler) lookUp(p, k int) {
	f.near[p] = f.circle.nearest(p, min(k, len(f.load)))
}

func (f *filler) fillOwners() {
	var left []int
	for p := range f.near {
		if m := f.near[p][0]; f.load[m] < f.caps[m] {
			f.give(p, 0, m)
		} else {
			left = append(left, p)
		}
	}
	for _, p := range left {
		f.give(p, 0, f.choose(p, 0))
	}
}

func (f *filler) give(p, rank, member int) {
	f.table[p*f.replicas+rank] = member
	f.load[member]++
}

// choose returns the member that becomes the replica of the given rank of
// partition p, whose earlier ones are chosen.
func (f *filler) choose(p, rank int) int {
	held := f.table[p*f.replicas:][:rank]
	fewest := f.fewest(held)
	allowed := func(m int) bool {
		return !slices.Contains(held, m) && (!f.zoned || f.inZone(held, f.zones[m]) == fewest)
	}
	seen := 0
	for {
		for _, m := range f.near[p][seen:] {
			if f.load[m] < f.caps[m] && allowed(m) {
				return m
			}
		}
		seen = len(f.near[p])
		if seen == len(f.load) {
			return f.leastLoaded(p, allowed)
		}
		f.lookUp(p, 4*seen)
	}
}

// leastLoaded returns the allowed member with the least load for its weight,
// the nearest of them to partition p. All members must have been looked up.
func (f *filler) leastLoaded(p int, allowed func(int) bool) int {
	best := -1
	for _, m := range f.near[p] {
		if allowed(m) && (best < 0 || f.load[m]*f.weights[best] < f.load[best]*f.weights[m]) {
			best = m
		}
	}
	return best
}

// fewest returns how many of held are in the zone that has fewest of them,
// among the zones that have a member besides.
func (f *filler) fewest(held []int) int {
	if !f.zoned {
		return 0
	}
	fewest := len(held)
	for m, zone := range f.zones {
		if !slices.Contains(held, m) {
			fewest = min(fewest, f.inZone(held, zone))
			if fewest == 0 {
				break
			}
		}
	}
	return fewest
}

// inZone returns how many of held are in a zone.
func (f *filler) inZone(held []int, zone int) int {
	n := 0
	for _, m := range held {
		if f.zones[m] == zone {
			n++
		}
	}
	return n
}
