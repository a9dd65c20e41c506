package topology

import (
	"slices"

	"github.com/thunderdb/thunderdb/ring"
)

// anyChange returns some change that the rules allow to propose.
func (n *simNode) anyChange() change {
	s, settled := n.sim, n.led.lo() == n.led.hi()
	newest := n.led.newest()
	some := s.nodes[s.rnd.IntN(len(s.nodes))]
	member := memberOf(newest, some.id)
	removed, _ := n.led.removed(some.id)
	taken := slices.ContainsFunc(newest.Members, func(m ring.Member) bool { return m.Name == some.name })
	switch {
	case some.wiped && n.led.lives(some.id):
		return change{forget: []uint64{some.id}}
	case some.wiped || removed && !n.led.lives(some.id):
	case !member && !removed && taken: // it has come back empty
		return change{join: []ring.Member{{Name: some.name, Storage: some.id, Weight: 1}}}
	case !member && !removed && settled:
		return change{join: []ring.Member{{Name: some.name, Storage: some.id, Weight: 1}}}
	case member && settled && !s.anyLost() && s.rnd.IntN(3) == 0:
		return change{leave: []uint64{some.id}}
	case s.rnd.IntN(2) == 0 && !s.anyLost(): // it cannot be told from one that is down
		return change{forget: []uint64{some.id}}
	}
	return change{}
}

// anyLost reports whether data was lost that is still counted on.
func (s *sim) anyLost() bool {
	for _, n := range s.nodes {
		for _, o := range s.nodes {
			_, forgotten := o.led.removed(n.id)
			if n.wiped && !o.wiped && o.led.lives(n.id) && !forgotten {
				return true
			}
		}
	}
	return false
}

// propose begins to have a change decided.
func (n *simNode) propose(what func() change) {
	if n.led.hi() == 0 || !memberOf(n.led.newest(), n.id) {
		return
	}
	c := what()
	if c.empty() {
		return
	}
	record, err := next(n.sim.ringsOf(n.led), c)
	if err != nil {
		return
	}
	var met Ballot
	if n.prop != nil {
		met = n.prop.met
	}
	n.update(func(l *ledger) error {
		n.prop, n.asked = newProposer(l.newest(), l.ballot(met), &record), false
		n.prop.onPromise(n.id, l.prepare(n.prop.version, n.prop.ballot))
		return nil
	})
	p, know := n.prop, n.knowledge()
	n.goOn(p)
	for _, m := range p.base.Members {
		to := n.sim.node(m.Storage)
		n.sim.send(func() {
			to.vote(n, p, know, func(l *ledger) vote { return l.prepare(p.version, p.ballot) }, func(v vote) {
				if !n.asked {
					p.onPromise(to.id, v)
				}
			})
		})
	}
}

// vote has an acceptor vote, and sends the answer.
func (n *simNode) vote(proposer *simNode, p *proposer, know Knowledge, cast func(*ledger) vote, take func(vote)) {
	if n.wiped {
		return
	}
	n.learn(know)
	var v vote
	n.update(func(l *ledger) error { v = cast(l); return nil })
	answer := n.knowledge()
	n.sim.send(func() {
		proposer.learn(answer)
		if proposer.prop == p && !proposer.wiped {
			take(v)
			proposer.goOn(p)
		}
	})
}

// goOn does what the answers to a proposer allow.
func (n *simNode) goOn(p *proposer) {
	switch {
	case p.decided():
		n.prop = nil
		n.update(func(l *ledger) error {
			if l.hi() != p.base.Version {
				return nil
			}
			n.sim.logf("%s%d decides %+v", n.name, n.id, *p.record)
			return l.merge(&Knowledge{Records: append(slices.Clone(l.Records), *p.record)})
		})
	case p.mayAccept() && !n.asked:
		n.asked = true
		record := p.record
		n.update(func(l *ledger) error { p.onAccept(n.id, l.accept(p.version, p.ballot, record)); return nil })
		know := n.knowledge()
		for _, m := range p.base.Members {
			to := n.sim.node(m.Storage)
			n.sim.send(func() {
				to.vote(n, p, know, func(l *ledger) vote { return l.accept(p.version, p.ballot, record) },
					func(v vote) { p.onAccept(to.id, v) })
			})
		}
		if p.decided() {
			n.goOn(p)
		}
	}
}
