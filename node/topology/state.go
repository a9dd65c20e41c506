package topology

import (
	"slices"
	"sync/atomic"

	"github.com/thunderdb/thunderdb/ring"
)

// State is what a node knows of the ring at one moment. It is immutable but
// for the count of who uses it.
type State struct {
	Ring *ring.Ring
	// Self is this node's index in the ring's members, -1 where it is none.
	Self int
	// Settled says that every member has acknowledged Ring.
	Settled bool

	cluster string
	rings   []*ring.Ring // versions 1 to Ring.Version()
	past    []past       // by partition

	replaced chan struct{} // closed when a newer state takes over
	users    atomic.Int64  // requests admitted, and one more while it is current
	idle     chan struct{} // closed when users reaches zero
}

// newState returns the state of the node called name, given all ring versions
// so far, of which there is at least one.
func newState(name string, rings []*ring.Ring, settled bool) *State {
	s := &State{
		Ring:     rings[len(rings)-1],
		Settled:  settled,
		cluster:  rings[0].Record().Cluster,
		rings:    rings,
		replaced: make(chan struct{}),
		idle:     make(chan struct{}),
	}
	s.users.Store(1)
	s.Self = s.Ring.Index(name)
	s.trace()
	return s
}

// past is what became of a partition under earlier ring versions.
type past struct {
	former []int // who owned it earlier and does not now
	gained bool  // the last change gave it a new owner
	// returned says that its owner had it before, and others in between: what
	// it holds of a key need not be the newest.
	returned bool
}

// trace fills past.
func (s *State) trace() {
	s.past = make([]past, s.Ring.Partitions())
	for p := range s.past {
		at, owner, had := &s.past[p], s.Owner(p), false
		for _, earlier := range s.rings[:len(s.rings)-1] {
			was := s.Ring.Index(earlier.Members()[earlier.Replicas(p)[0]].Name)
			at.gained = was != owner // the last version before this one decides
			if was == owner {
				had = true
				continue
			}
			at.returned = had
			if was >= 0 && !slices.Contains(at.former, was) {
				at.former = append(at.former, was)
			}
		}
	}
}

// Cluster returns the identity of the cluster.
func (s *State) Cluster() string { return s.cluster }

// history returns the records of all ring versions so far.
func (s *State) history() []ring.Record {
	out := make([]ring.Record, len(s.rings))
	for i, r := range s.rings {
		out[i] = r.Record()
	}
	return out
}

// Version returns the number of the ring version.
func (s *State) Version() uint64 { return s.Ring.Version() }

// Owner returns the index of the member that owns a partition.
func (s *State) Owner(partition int) int { return s.Ring.Replicas(partition)[0] }

// Former returns the indexes of the members that owned a partition under an
// earlier version and do not now: they may hold keys that the owner lacks.
func (s *State) Former(partition int) []int { return s.past[partition].former }

// Returned reports whether the owner of a partition owned it before, and
// others did in between: then a key that it holds may be newer at one of them.
func (s *State) Returned(partition int) bool { return s.past[partition].returned }

// Open reports whether the owner of a partition may serve it: all who served
// it under an earlier version are known to have stopped.
func (s *State) Open(partition int) bool { return s.Settled || !s.past[partition].gained }

// MemberName returns the name of the member with an index in this ring.
func (s *State) MemberName(index int) string { return s.Ring.Members()[index].Name }

// acquire counts a user in, and reports false where the state is drained.
func (s *State) acquire() bool {
	for {
		n := s.users.Load()
		if n == 0 {
			return false
		}
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release counts out a user that [Keeper.Acquire] counted in.
func (s *State) Release() {
	if s.users.Add(-1) == 0 {
		close(s.idle)
	}
}
