package ring

import (
	"math"
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

// ownerCaps returns how many partitions each member may own.
func ownerCaps(weights, seeds []uint64, partitions int) []uint64 {
	limits := slices.Repeat([]uint64{uint64(partitions) << unitBits}, len(weights))
	return caps(shares(uint64(partitions)<<unitBits, weights, limits), seeds)
}

// replicaCaps returns how many partitions each member should hold, as owner or
// not. Where zones are of unequal weight, those of a light zone must hold more
// than their weight says: each partition needs a replica there.
func replicaCaps(weights, seeds []uint64, zones []int, partitions, replicas int) []uint64 {
	count := slices.Max(zones) + 1
	zoneWeights, sizes := make([]uint64, count), make([]int, count)
	for m, zone := range zones {
		zoneWeights[zone] += weights[m]
		sizes[zone]++
	}
	zoneShares := shareZones(zoneWeights, sizes, partitions, replicas)
	out := make([]uint64, len(weights))
	for zone, share := range zoneShares {
		var members []int
		var theirs, limits, s2 []uint64
		for m := range zones {
			if zones[m] == zone {
				members = append(members, m)
				theirs = append(theirs, weights[m])
				limits = append(limits, uint64(partitions)<<unitBits)
				s2 = append(s2, seeds[m])
			}
		}
		for i, share := range caps(shares(share, theirs, limits), s2) {
			out[members[i]] = share
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
				limits[zone] = uint64(partitions) << unitBits
				open++
			}
		}
		dealt := min(open, replicas)
		for zone, share := range shares(uint64(dealt*partitions)<<unitBits, weights, limits) {
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

// caps
func caps(shares []uint64, seeds []uint64) []uint64 {
	out := make([]uint64, len(shares))
	for i, s := range shares {
		u := uint64(0)
		if Dither {
			u = seeds[i] >> (64 - unitBits)
		}
		slack := uint64(Slack * math.Sqrt(float64(s<<unitBits)))
		out[i] = max(1, (s+slack+u)>>unitBits)
	}
	return out
}

const unitBits = 16

var Dither = false
var Slack = 1.0

func sum(numbers []uint64) uint64 {
	var total uint64
	for _, n := range numbers {
		total += n
	}
	return total
}
