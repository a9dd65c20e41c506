package topology

import (
	"cmp"

	"github.com/thunderdb/thunderdb/ring"
)

// Single-decree Paxos (Lamport, "Paxos made simple", 2001), one instance for
// each ring version: its acceptors are the members of the version before, by
// storage identity, and what is chosen is the version's record. Nodes pass on
// records that are decided, and nothing is voted on once one is known.

// Ballot numbers an attempt to have a record decided.
type Ballot struct {
	Round   uint64 `json:"round"`
	Storage uint64 `json:"storage,string"` // whose attempt it is
}

// compare orders ballots; all are above the zero one.
func (b Ballot) compare(o Ballot) int {
	return cmp.Or(cmp.Compare(b.Round, o.Round), cmp.Compare(b.Storage, o.Storage))
}

// acceptor is what a member must remember of a vote.
type acceptor struct {
	Version  uint64       `json:"version"` // voted on
	Promised Ballot       `json:"promised"`
	Accepted Ballot       `json:"accepted"`
	Record   *ring.Record `json:"record,omitempty"` // accepted with Accepted
}

// vote is an acceptor's answer.
type vote struct {
	OK       bool         `json:"ok"`
	Promised Ballot       `json:"promised"` // the highest ballot met
	Accepted Ballot       `json:"accepted"`
	Record   *ring.Record `json:"record,omitempty"`
}

// votes reports whether this node is an acceptor of version v, and makes it
// ready to be.
func (l *ledger) votes(v uint64) bool {
	if l.hi() == 0 || v != l.hi()+1 || !memberOf(l.newest(), l.Storage) {
		return false
	}
	if l.Vote.Version != v {
		l.Vote = acceptor{Version: v}
	}
	return true
}

// prepare promises to accept nothing below ballot b.
func (l *ledger) prepare(v uint64, b Ballot) vote {
	if !l.votes(v) {
		return vote{}
	}
	a := &l.Vote
	if b.compare(a.Promised) <= 0 {
		return vote{Promised: a.Promised}
	}
	a.Promised = b
	return vote{OK: true, Promised: b, Accepted: a.Accepted, Record: a.Record}
}

// accept accepts a record, unless a higher ballot was promised.
func (l *ledger) accept(v uint64, b Ballot, record *ring.Record) vote {
	if !l.votes(v) {
		return vote{}
	}
	a := &l.Vote
	if b.compare(a.Promised) < 0 {
		return vote{Promised: a.Promised}
	}
	a.Promised, a.Accepted, a.Record = b, b, record
	return vote{OK: true, Promised: b}
}

// ballot returns one that this node has not used before, above those that it
// has promised and one that was met.
func (l *ledger) ballot(met Ballot) Ballot {
	return Ballot{Round: max(l.Vote.Promised.Round, met.Round) + 1, Storage: l.Storage}
}

// proposer is one attempt to have the record of a version decided.
type proposer struct {
	version  uint64
	ballot   Ballot
	base     *ring.Record // the version before, whose members vote
	record   *ring.Record // proposed: its own, or what may have been decided already
	best     Ballot       // that record was accepted with, zero for its own
	met      Ballot       // the highest one that stood in its way
	promised map[uint64]bool
	accepted map[uint64]bool
}

func newProposer(base *ring.Record, ballot Ballot, record *ring.Record) *proposer {
	return &proposer{
		version: base.Version + 1, ballot: ballot, base: base, record: record,
		promised: map[uint64]bool{}, accepted: map[uint64]bool{},
	}
}

// onPromise takes the answer of a storage identity to prepare. Answers that
// come once accept was asked for must not be given to it.
func (p *proposer) onPromise(from uint64, v vote) {
	if !v.OK {
		p.meet(v.Promised)
		return
	}
	p.promised[from] = true
	if v.Record != nil && v.Accepted.compare(p.best) > 0 {
		p.best, p.record = v.Accepted, v.Record
	}
}

// onAccept takes the answer of a storage identity to accept.
func (p *proposer) onAccept(from uint64, v vote) {
	if !v.OK {
		p.meet(v.Promised)
		return
	}
	p.accepted[from] = true
}

func (p *proposer) meet(b Ballot) {
	if b.compare(p.met) > 0 {
		p.met = b
	}
}

// mayAccept reports whether a majority has promised: then it is record that
// the members are asked to accept.
func (p *proposer) mayAccept() bool { return majority(p.base, p.promised) }

// decided reports whether record is decided.
func (p *proposer) decided() bool { return majority(p.base, p.accepted) }

// majority reports whether more than half of a record's members are in a set.
func majority(r *ring.Record, in map[uint64]bool) bool {
	n := 0
	for _, m := range r.Members {
		if in[m.Storage] {
			n++
		}
	}
	return n > len(r.Members)/2
}
