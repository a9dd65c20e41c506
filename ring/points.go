package ring

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strconv"

	"github.com/serialx/hashring"
)

// The circle of the hash ring is divided into as many segments as there are
// partitions, and a partition is looked up at the beginning of its segment. A
// member's points fall into segments in an order of its own, a random
// permutation: its first point near the beginning of its segment, each later
// one deeper in another. So each member comes first in some partitions, second
// in others, and so on, and no two of its points compete.
//
// The library's own placement throws points and partitions at random. That
// makes the partitions of a member vary like a Poisson variable; here their
// variance is half of that (see TestNaturalBalance), so the caps in table.go
// bind rarely, and a change of members moves little besides what it must.
const (
	// pointsPerPartition is how many points a segment holds on average. With 8
	// one partition in 3000 finds its segment empty, and takes the next one's.
	pointsPerPartition = 8
	// maxPoints bounds the time to build a ring of very many partitions.
	maxPoints = 1 << 15

	// segmentBits is the width of a place within a segment, stepBits that of
	// the distance between two points of a member of weight 1. A segment has
	// room for MaxPartitions of them.
	segmentBits = stepBits + 16
	stepBits    = 24
)

// place is a position on the circle, the hash key of the library's ring.
type place struct {
	at     uint64
	member int // breaks ties, so that the order of points is total
}

// Less implements [hashring.HashKey].
func (a place) Less(other hashring.HashKey) bool {
	b := other.(place)
	if a.at != b.at {
		return a.at < b.at
	}
	return a.member < b.member
}

// circle answers which members are nearest to a partition.
type circle struct {
	ring *hashring.HashRing
	rank map[string]int // name to index in the members given
}

// newCircle places the points of members, which are sorted by name. weights
// are theirs, scaled by scaledWeights.
func newCircle(members []Member, weights []uint64, partitions int) *circle {
	c := &circle{rank: make(map[string]int, len(members))}
	counts := make(map[string]int, len(members))
	places := make([][]uint64, len(members))
	total := sum(weights)
	all := uint64(min(pointsPerPartition*partitions, maxPoints))
	spare := make([]uint64, partitions)
	for i, m := range members {
		c.rank[m.Name] = i
		n := min((all*weights[i]+total-1)/total, uint64(partitions))
		counts[m.Name] = int(n)
		places[i] = memberPlaces(m.Name, weights[i], int(n), spare)
	}
	c.ring = hashring.NewWithHashAndWeights(counts, func(name []byte) hashring.HashKey {
		dash := bytes.LastIndexByte(name, '-')
		n, err := strconv.Atoi(string(name[dash+1:]))
		if err != nil {
			panic("ring: the hash ring asks for the place of " + strconv.Quote(string(name)))
		}
		if dash < 0 {
			return place{at: uint64(n) << segmentBits, member: -1}
		}
		i := c.rank[string(name[:dash])]
		return place{at: places[i][n], member: i}
	})
	return c
}

// nearest returns the k members nearest to a partition, the nearest first. k
// is at most the number of members.
func (c *circle) nearest(partition, k int) []int {
	// The second result says whether there are k members, which there are.
	names, _ := c.ring.GetNodes(strconv.Itoa(partition), k)
	out := make([]int, len(names))
	for i, name := range names {
		out[i] = c.rank[name]
	}
	return out
}

// memberPlaces returns where a member's first n points are. spare is room for
// a number a partition.
func memberPlaces(name string, weight uint64, n int, spare []uint64) []uint64 {
	sum := sha256.Sum256([]byte(name))
	random := splitMix(binary.BigEndian.Uint64(sum[:]))
	for i := range spare {
		spare[i] = uint64(i)
	}
	places := make([]uint64, n)
	for i := range places {
		// One step of a shuffle (Fisher and Yates): the multiplication picks
		// one of the partitions left (Lemire, 2019), with a bias of at most
		// 2^-48.
		pick, _ := bits.Mul64(random.next(), uint64(len(spare)-i))
		j := i + int(pick)
		spare[i], spare[j] = spare[j], spare[i]
		depth := (uint64(i)<<stepBits + random.next()>>(64-stepBits)) / weight
		places[i] = spare[i]<<segmentBits + depth
	}
	return places
}

// splitMix is the generator of Steele, Lea and Flood (2014). The table depends
// on its numbers, so it is written out here rather than taken from a library
// that may change.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func seedOf(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[8:])
}
