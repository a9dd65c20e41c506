package ring

import (
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// Ring is the partition table of one [Record]. It never changes, and so it is
// safe for concurrent use.
type Ring struct {
	rec      Record
	index    map[string]int // name to index in rec.Members
	storages map[uint64]int // storage identity to index in rec.Members
	replicas int            // rec.Replicas, but no more than there are members
	// table holds for each partition in turn its replicas, as indexes into
	// rec.Members, the owner first.
	table []int
	owned []int // partitions that each member owns
	held  []int // partitions that each member holds, as owner or not
}

// New returns the ring that rec describes. It keeps no reference to rec's
// memory. The error wraps [ErrInvalid] and names what is wrong.
func New(rec Record) (*Ring, error) {
	if err := rec.validate(); err != nil {
		return nil, err
	}
	r := &Ring{
		rec:      rec.clone(),
		index:    make(map[string]int, len(rec.Members)),
		storages: make(map[uint64]int, len(rec.Members)),
		replicas: min(rec.Replicas, len(rec.Members)),
		owned:    make([]int, len(rec.Members)),
		held:     make([]int, len(rec.Members)),
	}
	for i, m := range r.rec.Members {
		r.index[m.Name] = i
		if m.Storage != 0 {
			r.storages[m.Storage] = i
		}
	}
	r.table = fillTable(r.rec, r.replicas)
	for i, m := range r.table {
		if i%r.replicas == 0 {
			r.owned[m]++
		}
		r.held[m]++
	}
	return r, nil
}

// Record returns a copy of the record that the ring was made of. Its Replicas
// are what was asked for, also where there are fewer members.
func (r *Ring) Record() Record { return r.rec.clone() }

// Version returns the version of the ring's record.
func (r *Ring) Version() uint64 { return r.rec.Version }

// Cluster returns the identity of the cluster, as the record says it.
func (r *Ring) Cluster() string { return r.rec.Cluster }

// Partitions returns the number of partitions.
func (r *Ring) Partitions() int { return r.rec.Partitions }

// Members returns the members in the record's order. The slice is the ring's
// own and must not be modified.
func (r *Ring) Members() []Member { return r.rec.Members }

// Index returns the index in Members of the member called name, -1 where
// there is none.
func (r *Ring) Index(name string) int {
	if i, ok := r.index[name]; ok {
		return i
	}
	return -1
}

// IndexOf returns the index in Members of the member with a storage identity,
// -1 where there is none.
func (r *Ring) IndexOf(storage uint64) int {
	if i, ok := r.storages[storage]; ok {
		return i
	}
	return -1
}

// Partition returns the partition of key, 0 up to Partitions.
func (r *Ring) Partition(key []byte) int { return kv.Partition(key, r.rec.Partitions) }

// Replicas returns the members that hold a partition, the owner first, as
// indexes into Members. There are as many as the record asks for, or as there
// are members. The slice is the ring's own and must not be modified. It panics
// where there is no such partition.
func (r *Ring) Replicas(partition int) []int {
	from := partition * r.replicas
	return r.table[from : from+r.replicas : from+r.replicas]
}

// Holds reports whether a member, by its index in Members, is one of a
// partition's replicas. No member has the index -1.
func (r *Ring) Holds(partition, member int) bool {
	return slices.Contains(r.Replicas(partition), member)
}

// Owner returns the index in Members of the owner of key's partition.
func (r *Ring) Owner(key []byte) int { return r.table[r.Partition(key)*r.replicas] }

// Owned returns how many partitions a member owns, by its index in Members.
func (r *Ring) Owned(member int) int { return r.owned[member] }

// Held returns how many partitions a member holds, as owner or not, by its
// index in Members.
func (r *Ring) Held(member int) int { return r.held[member] }
