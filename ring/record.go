package ring

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// MaxPartitions is the largest number of partitions that a ring may have.
const MaxPartitions = 1 << 16

// ErrInvalid is returned by [New] for a record that no ring can be made of.
var ErrInvalid = errors.New("invalid ring record")

// Member is a node that holds part of the keys.
type Member struct {
	// Name identifies the member. It is not empty, valid UTF-8, and unique in
	// its record.
	Name string `json:"name"`
	// Storage is the identity of what the member keeps its entries in: a member
	// that comes back under its name without them is another one. 0 says that
	// it is not known; others are unique in their record.
	Storage uint64 `json:"storage,string"`
	// Weight is the member's share of the partitions relative to the other
	// members' weights. It is at least 1.
	Weight int `json:"weight"`
	// Zone names what may fail together, such as a rack: the replicas of a
	// partition are spread over zones. Members without one share the zone "".
	Zone string `json:"zone"`
}

// Record is one version of a ring, as nodes agree on it and pass it on.
type Record struct {
	// Version counts the rings of a cluster; the first is 1.
	Version uint64 `json:"version"`
	// Cluster is the identity of the cluster.
	Cluster string `json:"cluster"`
	// Partitions is the number of slices of the hash space, 1 to
	// [MaxPartitions]. It never changes in the life of a cluster.
	Partitions int `json:"partitions"`
	// Replicas is how many members are to hold each partition, at least 1. It
	// may exceed the number of members; then all of them hold everything.
	Replicas int `json:"replicas"`
	// Members has at least one member. Their order carries no meaning.
	Members []Member `json:"members"`
	// Cache says that the members' stores may evict what they hold. The founder
	// decides it, and it never changes.
	Cache bool `json:"cache,omitempty"`
	// Removed is every storage identity that was ever a member and is to be none
	// again. None of them is among Members.
	Removed []Removed `json:"removed,omitempty"`
}

// Removed is a storage identity that is no member any more.
type Removed struct {
	Storage uint64 `json:"storage,string"`
	// Forgotten says that it is out without having handed over what it held.
	Forgotten bool `json:"forgotten,omitempty"`
}

// clone returns a copy that shares no memory with rec.
func (rec Record) clone() Record {
	rec.Members = slices.Clone(rec.Members)
	rec.Removed = slices.Clone(rec.Removed)
	return rec
}

// validate returns an error that wraps ErrInvalid and names the first fault.
func (rec Record) validate() error {
	switch {
	case rec.Partitions < 1 || rec.Partitions > MaxPartitions:
		return fmt.Errorf("%w: %d partitions, want 1 to %d", ErrInvalid, rec.Partitions, MaxPartitions)
	case rec.Replicas < 1:
		return fmt.Errorf("%w: %d replicas, want at least 1", ErrInvalid, rec.Replicas)
	case len(rec.Members) == 0:
		return fmt.Errorf("%w: no members", ErrInvalid)
	}
	if err := rec.validateRemoved(); err != nil {
		return err
	}
	return rec.validateMembers()
}

func (rec Record) validateMembers() error {
	seen := make(map[string]bool, len(rec.Members))
	storages := make(map[uint64]bool, len(rec.Members))
	for i, m := range rec.Members {
		switch {
		case m.Name == "":
			return fmt.Errorf("%w: member %d has no name", ErrInvalid, i)
		case !utf8.ValidString(m.Name):
			// JSON would carry another name to the other nodes.
			return fmt.Errorf("%w: member name %q is not UTF-8", ErrInvalid, m.Name)
		case seen[m.Name]:
			return fmt.Errorf("%w: two members named %q", ErrInvalid, m.Name)
		case m.Weight < 1:
			return fmt.Errorf("%w: member %q has weight %d, want at least 1", ErrInvalid, m.Name, m.Weight)
		case m.Storage != 0 && storages[m.Storage]:
			return fmt.Errorf("%w: two members of storage %x", ErrInvalid, m.Storage)
		}
		seen[m.Name] = true
		storages[m.Storage] = true
	}
	return nil
}

func (rec Record) validateRemoved() error {
	seen := make(map[uint64]bool, len(rec.Removed))
	for _, gone := range rec.Removed {
		if gone.Storage == 0 || seen[gone.Storage] {
			return fmt.Errorf("%w: storage %x is removed twice, or is none", ErrInvalid, gone.Storage)
		}
		seen[gone.Storage] = true
	}
	for _, m := range rec.Members {
		if seen[m.Storage] {
			return fmt.Errorf("%w: member %q has storage %x, which is removed", ErrInvalid, m.Name, m.Storage)
		}
	}
	return nil
}
