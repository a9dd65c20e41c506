package ring

import (
	"slices"
)

// maxWeight is the greatest weight that is told from its neighbours. Where
// there are greater ones, all weights are halved until none is.
const maxWeight = 1 << 16

// scaledWeights returns the members' weights, none above maxWeight and none
// below 1.
func scaledWeights(members []Member) []uint64 {
	greatest := 0
	for _, m := range members {
		greatest = max(greatest, m.Weight)
	}
	shift := 0
	for greatest>>shift > maxWeight {
		shift++
	}
	weights := make([]uint64, len(members))
	for i, m := range members {
		weights[i] = max(1, uint64(m.Weight)>>shift)
	}
	return weights
}

// unit is one partition in the arithmetic of shares, which is of fixed point so
// that it is the same on every machine.
const unit = 1 << 16

// ownerCaps returns how many partitions each member may own.
func ownerCaps(weights []uint64, partitions int) []uint64 {
	all := uint64(partitions) * unit
	return caps(shares(all, weights, slices.Repeat([]uint64{all}, len(weights))))
}

// replicaCaps returns how many partitions each member should hold, as owner or
// not. Where zones are of unequal weight, those of a light zone must hold more
// than their weight says: each partition needs a replica there.
func replicaCaps(weights []uint64, zones []int, partitions, replicas int) []uint64 {
	count := slices.Max(zones) + 1
	zoneWeights, members := make([]uint64, count), make([][]int, count)
	for m, zone := range zones {
		zoneWeights[zone] += weights[m]
		members[zone] = append(members[zone], m)
	}
	sizes := make([]int, count)
	for zone := range members {
		sizes[zone] = len(members[zone])
	}
	out := make([]uint64, len(weights))
	for zone, total := range shareZones(zoneWeights, sizes, partitions, replicas) {
		theirs := make([]uint64, sizes[zone])
		for i, m := range members[zone] {
			theirs[i] = weights[m]
		}
		limits := slices.Repeat([]uint64{uint64(partitions) * unit}, sizes[zone])
		for i, limit := range caps(shares(total, theirs, limits)) {
			out[members[zone][i]] = limit
		}
	}
	return out
}

// shareZones returns how many replicas each zone holds of all partitions. Each
// partition's are dealt out in rounds, one to each zone that has a member
// left. In the last round there may be more zones than replicas, and they
// share what there is by weight.
func shareZones(weights []uint64, sizes []int, partitions, replicas int) []uint64 {
	out := make([]uint64, len(weights))
	limits := make([]uint64, len(weights))
	for round := 0; replicas > 0; round++ {
		open := 0
		for zone := range limits {
			limits[zone] = 0
			if sizes[zone] > round {
				limits[zone] = uint64(partitions) * unit
				open++
			}
		}
		dealt := min(open, replicas)
		for zone, share := range shares(uint64(dealt*partitions)*unit, weights, limits) {
			out[zone] += share
		}
		replicas -= dealt
	}
	return out
}

// shares divides total among weights in proportion, but gives none of them
// more than its limit, and the others what that one cannot take. Shares are
// rounded up.
func shares(total uint64, weights, limits []uint64) []uint64 {
	out := make([]uint64, len(weights))
	full := make([]bool, len(weights))
	for {
		var open, taken uint64
		again := false
		for i, w := range weights {
			if !full[i] {
				open += w
			}
		}
		for i, w := range weights {
			if full[i] {
				continue
			}
			out[i] = (total*w + open - 1) / open
			if out[i] >= limits[i] {
				out[i], full[i], again = limits[i], true, true
				taken += limits[i]
			}
		}
		if !again || taken >= total {
			return out
		}
		total -= taken
	}
}

// caps returns the most partitions for each share: a sixteenth above it, and
// 3.5 more, since small shares vary more. Less would have a change of members
// move more; more would leave the balance asked of 100 members, 1.15.
func caps(shares []uint64) []uint64 {
	out := make([]uint64, len(shares))
	for i, s := range shares {
		out[i] = (s + s/16 + 3*unit + unit/2) / unit
	}
	return out
}

func sum(numbers []uint64) uint64 {
	var total uint64
	for _, n := range numbers {
		total += n
	}
	return total
}
