package topology

import (
	"slices"
)

// write begins a write.
func (n *simNode) write() {
	if n.sim.writes == simWrites || !n.led.takesPart() {
		return
	}
	op := &simOp{bit: 1 << n.sim.writes, live: n.sim.ringsOf(n.led), got: map[uint64]bool{}}
	n.sim.writes++
	n.ops = append(n.ops, op)
	know := n.knowledge()
	for _, r := range op.live {
		for _, i := range r.Replicas(0) {
			to := n.sim.node(r.Members()[i].Storage)
			n.sim.sendSlowly(func() { to.apply(n, op, know) })
		}
	}
}

// apply is what a replica does with a write.
func (n *simNode) apply(from *simNode, op *simOp, know Knowledge) {
	stamp := op.live[len(op.live)-1].Version()
	if n.wiped {
		return
	}
	if stamp > n.led.hi() {
		n.learn(know)
	}
	if !n.runs() || n.led.lo() > stamp || n.led.Seal > stamp {
		return
	}
	n.store |= op.bit
	n.sim.sendSlowly(func() { from.applied(op, n.id) })
}

// applied takes the reply of a replica.
func (n *simNode) applied(op *simOp, id uint64) {
	if !slices.Contains(n.ops, op) || n.wiped {
		return
	}
	op.got[id] = true
	for _, r := range op.live {
		replicas, held := r.Replicas(0), 0
		for _, i := range replicas {
			if op.got[r.Members()[i].Storage] {
				held++
			}
		}
		if held < quorum(len(replicas)) {
			return
		}
	}
	n.sim.logf("write %b by %s%d under %d is acknowledged, by %v", op.bit, n.name, n.id, op.live[len(op.live)-1].Version(), op.got)
	n.sim.acked |= op.bit
	n.ops = slices.DeleteFunc(n.ops, func(o *simOp) bool { return o == op })
}

// check holds the promise: no quorum of a read can miss what was acknowledged.
func (s *sim) check() {
	for _, n := range s.nodes {
		if !n.runs() || !n.led.takesPart() {
			continue
		}
		read := s.ringsOf(n.led)[n.led.Read-n.led.lo()]
		replicas, lacking := read.Replicas(0), map[uint64]int{}
		for _, i := range replicas {
			o := s.node(read.Members()[i].Storage)
			if lacks := s.acked &^ o.store; lacks > 0 && o.serves(n) {
				for ; lacks > 0; lacks &= lacks - 1 {
					lacking[lacks&-lacks]++
				}
			}
		}
		for write, by := range lacking {
			if by >= quorum(len(replicas)) {
				s.fail("%s%d may read at %d and miss write %b", n.name, n.id, read.Version(), write)
			}
		}
	}
}

// serves reports whether a node would answer a read of another.
func (n *simNode) serves(of *simNode) bool {
	if n.wiped {
		return false
	}
	l := n.led.clone()
	if of.led.hi() > l.hi() {
		know := of.knowledge()
		if l.merge(&know) != nil {
			return false
		}
		l.advance()
	}
	_, forgotten := l.removed(n.id)
	return !forgotten && l.lo() <= of.led.Read && l.Seal <= of.led.hi() && l.own().Done <= of.led.Read
}
