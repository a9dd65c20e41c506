package node

import (
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// reach is the replicas that the operations on a partition deal with: those of
// the ring version that is read first, the owner leading, then those that only
// other live versions have. They are counted in this order in masks.
type reach struct {
	members []*ring.Member // of the rings, which never change
	self    int            // this node's place in members, -1 where it is none
	// read is those that a read asks, and how many have to answer.
	read quorum.Group
	// write is those that have to hold a write, or what a read returns.
	write quorum.Groups
	n     int // how many replicas the newest ring has
}

// reachOf returns the replicas of a partition under a state, and how many of
// them have to answer where asked, as in [kv.Op.Need], says so. Its error is
// kv.ErrBadNeed.
func reachOf(s *topology.State, partition, asked int, self uint64) (reach, error) {
	r := reach{self: -1, members: make([]*ring.Member, 0, 4), write: make(quorum.Groups, len(s.Live))}
	of := r.add(s.Read, partition)
	n := of.Count()
	need, ok := quorum.Need(asked, n)
	r.read = quorum.Group{Of: of, Need: need}
	r.n = n
	for i, live := range s.Live {
		of := r.add(live, partition)
		n := of.Count()
		wanted, enough := quorum.Need(asked, n)
		r.write[i] = quorum.Group{Of: of, Need: min(wanted, n)}
		if i == len(s.Live)-1 {
			r.n, ok = n, ok && enough
		}
	}
	if !ok {
		return r, fmt.Errorf("%w: %d of %d", kv.ErrBadNeed, asked, r.n)
	}
	for i, m := range r.members {
		if m.Storage == self {
			r.self = i
		}
	}
	return r, nil
}

// add adds a ring's replicas of a partition, and returns which they are.
func (r *reach) add(of *ring.Ring, partition int) quorum.Mask {
	var mask quorum.Mask
	members := of.Members()
	for _, at := range of.Replicas(partition) {
		mask = mask.With(r.place(&members[at]))
	}
	return mask
}

// place returns where a member stands, adding it where it is new.
func (r *reach) place(m *ring.Member) int {
	for i, known := range r.members {
		if known.Storage == m.Storage {
			return i
		}
	}
	r.members = append(r.members, m)
	return len(r.members) - 1
}

// certain reports whether those who answer are enough that a read meets every
// acknowledged write.
func (r *reach) certain() bool { return r.read.Need >= quorum.Majority(r.read.Of.Count()) }
