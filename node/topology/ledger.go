package topology

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/thunderdb/thunderdb/ring"
)

// ledger is all that a node knows of ring versions and must not forget. What
// changes it is pure: see Keeper.update for how it becomes durable and known.
type ledger struct {
	Storage uint64             `json:"storage,string"` // whose it is
	Records []ring.Record      `json:"records"`        // of the live versions, in order
	Read    uint64             `json:"read"`           // the version that reads use
	Numbers map[uint64]Numbers `json:"numbers"`        // of this node, and of members of live versions
	Seal    uint64             `json:"seal"`           // the highest version that was compared for here
	Vote    acceptor           `json:"vote"`           // on the version after the newest
	// Clean is the partitions that this node held under a dropped version, holds
	// under none that is live, and has not deleted yet.
	Clean []int `json:"clean,omitempty"`
}

// lo returns the oldest live version, 0 where none is known.
func (l *ledger) lo() uint64 {
	if len(l.Records) == 0 {
		return 0
	}
	return l.Records[0].Version
}

// hi returns the newest version, 0 where none is known.
func (l *ledger) hi() uint64 {
	if len(l.Records) == 0 {
		return 0
	}
	return l.newest().Version
}

// newest returns the record of the newest version, of which there is one.
func (l *ledger) newest() *ring.Record { return &l.Records[len(l.Records)-1] }

// own returns the numbers of this node.
func (l *ledger) own() Numbers { return l.Numbers[l.Storage] }

// clone returns a copy to be changed. Records are shared: they never change.
func (l *ledger) clone() *ledger {
	out := *l
	out.Records = slices.Clone(l.Records)
	out.Numbers = maps.Clone(l.Numbers)
	if out.Numbers == nil {
		out.Numbers = map[uint64]Numbers{}
	}
	out.Clean = slices.Clone(l.Clean)
	return &out
}

// equal reports whether two ledgers of one node, one made from the other, say
// the same.
func (l *ledger) equal(o *ledger) bool {
	return l.lo() == o.lo() && l.hi() == o.hi() && l.Read == o.Read && l.Seal == o.Seal && l.Vote == o.Vote &&
		maps.Equal(l.Numbers, o.Numbers) && slices.Equal(l.Clean, o.Clean)
}

// merge adds what another node knows. The error is ErrSetBack where that one
// knows more of this node than it does, or says that the two know what cannot
// go together; then l may be changed in part.
func (l *ledger) merge(in *Knowledge) error {
	if len(in.Records) > 0 {
		if err := check(in.Records); err != nil {
			return err
		}
		if err := l.mergeRecords(in.Records); err != nil {
			return err
		}
	}
	return l.mergeNumbers(in.Numbers)
}

func (l *ledger) mergeRecords(records []ring.Record) error {
	first, last := records[0].Version, records[len(records)-1]
	if len(l.Records) > 0 {
		for _, r := range records {
			if mine := l.record(r.Version); mine != nil && !sameRecord(mine, &r) {
				return fmt.Errorf("two different rings have version %d, of clusters %s and %s", r.Version, mine.Cluster, r.Cluster)
			}
		}
		older, newer := l.newest(), &last
		if older.Version > newer.Version {
			older, newer = newer, older
		}
		if !follows(older.Cluster, newer.Cluster) {
			return fmt.Errorf("ring of cluster %s offered to a node of cluster %s", last.Cluster, l.newest().Cluster)
		}
	}
	if first > l.hi()+1 || l.hi() == 0 {
		// Only who is a member of no live version can have missed any.
		l.Records = slices.Clone(records)
	}
	for _, r := range records {
		if r.Version == l.hi()+1 {
			l.Records = append(l.Records, r)
		}
	}
	// That another node has dropped a version says that all were done with it.
	l.drop(first)
	if l.Vote.Version <= l.hi() {
		l.Vote = acceptor{}
	}
	return nil
}

// drop makes version the oldest that is live, if it is known and an older one
// is.
func (l *ledger) drop(version uint64) {
	for len(l.Records) > 1 && l.lo() < version {
		l.Records = l.Records[1:]
	}
	l.Read = max(l.Read, l.lo())
	l.prune()
}

// prune forgets the numbers of those who are members of no live version.
func (l *ledger) prune() {
	maps.DeleteFunc(l.Numbers, func(storage uint64, _ Numbers) bool {
		return storage != l.Storage && !l.lives(storage)
	})
}

func (l *ledger) mergeNumbers(in map[uint64]Numbers) error {
	for storage, n := range in {
		mine := l.Numbers[storage]
		merged := mine.merge(n)
		switch {
		case merged == mine:
		case storage == l.Storage:
			return fmt.Errorf("%w: %+v, not %+v", ErrSetBack, merged, mine)
		case l.lives(storage):
			l.Numbers[storage] = merged
		}
	}
	return nil
}

// record returns the record of a live version, nil where it is none.
func (l *ledger) record(version uint64) *ring.Record {
	if version < l.lo() || version > l.hi() || l.hi() == 0 {
		return nil
	}
	return &l.Records[version-l.lo()]
}

// lives reports whether a storage identity is a member of a live version.
func (l *ledger) lives(storage uint64) bool {
	return slices.ContainsFunc(l.Records, func(r ring.Record) bool { return memberOf(&r, storage) })
}

// removed reports whether a storage identity is out for good, and whether it
// is without having handed over.
func (l *ledger) removed(storage uint64) (removed, forgotten bool) {
	if len(l.Records) == 0 {
		return false, false
	}
	for _, gone := range l.newest().Removed {
		if gone.Storage == storage {
			return true, gone.Forgotten
		}
	}
	return false, false
}

// takesPart reports whether this node has numbers to publish.
func (l *ledger) takesPart() bool {
	_, forgotten := l.removed(l.Storage)
	return !forgotten && l.lives(l.Storage)
}

func memberOf(r *ring.Record, storage uint64) bool {
	return slices.ContainsFunc(r.Members, func(m ring.Member) bool { return m.Storage == storage })
}

// check returns an error unless records are consecutive versions of one
// cluster with one number of partitions, and all their members are known.
func check(records []ring.Record) error {
	for i := range records {
		r := &records[i]
		switch {
		case r.Version == 0 || r.Cluster == "":
			return errors.New("a ring record without a version or a cluster")
		case memberOf(r, 0):
			return fmt.Errorf("ring record %d has a member of an unknown store", r.Version)
		case i == 0:
			continue
		}
		before := &records[i-1]
		if r.Version != before.Version+1 || r.Partitions != before.Partitions || !follows(before.Cluster, r.Cluster) {
			return fmt.Errorf("ring record %d of cluster %s with %d partitions cannot follow %d of %s with %d",
				r.Version, r.Cluster, r.Partitions, before.Version, before.Cluster, before.Partitions)
		}
	}
	return nil
}

// checkPartitions returns an error unless the ring has so many partitions as
// this node's store and all that it keeps of it are made for.
func (l *ledger) checkPartitions(want int) error {
	if l.hi() == 0 || l.newest().Partitions == want {
		return nil
	}
	return fmt.Errorf("the ring of cluster %s has %d partitions, and this node is made for %d",
		l.newest().Cluster, l.newest().Partitions, want)
}

func sameRecord(a, b *ring.Record) bool {
	return a.Version == b.Version && a.Cluster == b.Cluster && a.Partitions == b.Partitions &&
		a.Replicas == b.Replicas && a.Cache == b.Cache &&
		slices.Equal(a.Members, b.Members) && slices.Equal(a.Removed, b.Removed)
}
