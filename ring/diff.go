package ring

import "slices"

// Move is a partition whose replicas are not the same members in two rings.
type Move struct {
	Partition int
	// Lost and Gained name the members that hold the partition only under the
	// older ring and only under the newer one, each in its ring's order of
	// replicas. One of them may be empty.
	Lost, Gained []string
}

// Diff returns the partitions whose data has to move between two rings of one
// cluster, in order. A partition whose replicas only changed places is not
// among them. Members are compared by name. It panics where the rings differ
// in their number of partitions, which a cluster's rings never do.
func Diff(from, to *Ring) []Move {
	if from.Partitions() != to.Partitions() {
		panic("ring: rings of different numbers of partitions")
	}
	var moves []Move
	for p := range from.Partitions() {
		lost := from.without(p, to)
		gained := to.without(p, from)
		if len(lost)+len(gained) > 0 {
			moves = append(moves, Move{Partition: p, Lost: lost, Gained: gained})
		}
	}
	return moves
}

// without returns the names of a partition's replicas that are not replicas
// of it in other.
func (r *Ring) without(partition int, other *Ring) []string {
	var names []string
	theirs := other.Replicas(partition)
	for _, i := range r.Replicas(partition) {
		name := r.rec.Members[i].Name
		if !slices.Contains(theirs, other.Index(name)) {
			names = append(names, name)
		}
	}
	return names
}
