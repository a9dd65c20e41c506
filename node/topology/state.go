package topology

import (
	"sync/atomic"

	"github.com/thunderdb/thunderdb/ring"
)

// State is what a node knows of the ring at one moment. It is immutable but
// for the count of who uses it. A node that is no member yet has one, too.
type State struct {
	Ring *ring.Ring   // the newest live version
	Read *ring.Ring   // the one that reads use
	Live []*ring.Ring // all live versions, oldest first; the last is Ring
	// Self is this node's index in Ring's members by name and storage, -1 where
	// it is none of them. Others of Live may have it all the same.
	Self int
	// Seal is the highest version that was compared for here. What a sender asks
	// that does not know it is refused.
	Seal uint64
	// Numbers is how far the members of all live versions are, by storage
	// identity, and this node. It must not be changed.
	Numbers map[uint64]Numbers
	// Confirmed says that since this process began a majority of a version's
	// members, the newest known then, has said that it knows no newer one. A node
	// serves nothing before.
	Confirmed bool

	ledger   *ledger
	gone     func(storage uint64) bool
	drained  func()        // called when users reaches zero
	replaced chan struct{} // closed when a newer state takes over
	users    atomic.Int64  // requests admitted, and one more while it is current
	idle     chan struct{} // closed when users reaches zero
}

// newState returns the state of a node called name. rings are those of the
// ledger's records, of which there is at least one.
func newState(name string, l *ledger, rings []*ring.Ring, confirmed bool, drained func()) *State {
	s := &State{
		Ring:      rings[len(rings)-1],
		Read:      rings[l.Read-l.lo()],
		Live:      rings,
		Self:      -1,
		Seal:      l.Seal,
		Numbers:   l.Numbers,
		Confirmed: confirmed,
		ledger:    l,
		gone:      gone(l.newest()),
		drained:   drained,
		replaced:  make(chan struct{}),
		idle:      make(chan struct{}),
	}
	s.users.Store(1)
	if at := s.Ring.IndexOf(l.Storage); at >= 0 && s.Ring.Members()[at].Name == name {
		s.Self = at
	}
	return s
}

// Cluster returns the identity of the cluster.
func (s *State) Cluster() string { return s.Ring.Cluster() }

// Version returns the number of the newest ring version.
func (s *State) Version() uint64 { return s.Ring.Version() }

// Oldest returns the number of the oldest live version.
func (s *State) Oldest() uint64 { return s.Live[0].Version() }

// Settled reports whether one version is live, so that no change is under way.
func (s *State) Settled() bool { return len(s.Live) == 1 }

// Own returns how far this node is.
func (s *State) Own() Numbers { return s.ledger.own() }

// MemberName returns the name of the member with an index in Ring.
func (s *State) MemberName(index int) string { return s.Ring.Members()[index].Name }

// Forgotten reports whether a storage identity is out without having handed
// over what it held.
func (s *State) Forgotten(storage uint64) bool { return s.gone(storage) }

// holds reports whether this node's store has partitions under any version.
func (s *State) holds() bool { return s.ledger.lives(s.ledger.Storage) }

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
		s.drained()
	}
}

// busy reports whether it has users.
func (s *State) busy() bool {
	select {
	case <-s.idle:
		return false
	default:
		return true
	}
}
