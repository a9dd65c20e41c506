package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// round has operations of one kind, Apply, Promise, Withdraw or Drop, performed by all
// replicas of their keys at once, and counts who did.
//
// It is over for its caller as soon as every operation is decided: a replica
// that is slow holds up nothing that does not need it. What such a one answers
// later is still listened to, for the hints.
type round struct {
	node *Node
	s    *topology.State
	ops  []kv.Op // whose bytes nobody changes
	to   []reach // by operation

	mu      sync.Mutex // guards what follows
	votes   []vote     // by operation
	open    int        // operations that are not decided
	decided chan struct{}
	ended   chan struct{} // closed when nothing of it is on its way any more
	stale   string        // a node that knows a newer ring than s; "" for none
}

// vote is what the replicas said to one operation.
type vote struct {
	yes, no quorum.Mask
	durable int
	hinted  int
	newer   bool       // somebody holds a newer version
	met     kv.Version // the newest that was promised or held where a promise was refused
	over    bool
	answers []quorum.Answer // of those who did anything but an Apply: what they hold, as far as they say
	faults  []error
}

// leg is the part of a round that one replica performs.
type leg struct {
	member *ring.Member
	at     []int // operations
	bit    []int // of each, the replica's place in its reach
	call   peer.Call
}

// newRound prepares a round. Replicas that are known to hold an operation's
// entry already are counted in by have, unless it is nil.
func (n *Node) newRound(s *topology.State, ops []kv.Op, to []reach, have []quorum.Mask) *round {
	r := &round{node: n, s: s, ops: ops, to: to, votes: make([]vote, len(ops)), decided: make(chan struct{}), ended: make(chan struct{})}
	r.open = len(ops)
	for i := range r.votes {
		if have != nil {
			r.votes[i].yes = have[i]
		}
		r.settle(i)
	}
	if len(ops) == 0 {
		close(r.decided)
	}
	return r
}

// run performs the round. It returns when all is decided, or when ctx ends.
func (r *round) run(ctx context.Context) {
	legs := r.legs()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.node.cfg.Timeout)
	}
	work, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	var own *leg
	var left atomic.Int32 // legs that others perform, and that of this node
	left.Store(1)
	end := func() {
		if left.Add(-1) == 0 {
			cancel()
			close(r.ended)
		}
	}
	for _, l := range legs {
		if l.member.Storage == r.node.id {
			own = l
			continue
		}
		client, err := r.node.peers.to(l.member)
		if err != nil {
			r.took(l, err)
			continue
		}
		left.Add(1)
		r.node.tails.Go(func() { // also when nobody waits any more
			defer end()
			r.took(l, r.give(work, client, l))
		})
	}
	if own != nil {
		r.node.share.serve(ctx, &own.call)
		r.took(own, nil)
	}
	end()
	select {
	case <-r.decided:
	case <-ctx.Done():
	}
}

// roomEvery is how often a leg is tried again that found no room on its way.
const roomEvery = 5 * time.Millisecond

// give has a replica perform a leg. Where too much waits for that one already,
// it is tried again for as long as somebody waits for the leg.
func (r *round) give(ctx context.Context, client *peer.Client, l *leg) error {
	for {
		err := client.Do(ctx, &l.call)
		if !errors.Is(err, peer.ErrOverloaded) || !errors.Is(err, peer.ErrNotSent) {
			return err
		}
		timer := time.NewTimer(roomEvery)
		select {
		case <-timer.C:
			continue
		case <-r.decided:
		case <-ctx.Done():
		}
		timer.Stop()
		return err
	}
}

// legs divides the operations among their replicas, but for those who hold
// what they would be given.
func (r *round) legs() []*leg {
	if len(r.ops) == 1 {
		return r.legsOfOne()
	}
	var legs []*leg
	byStorage := map[uint64]*leg{}
	for i := range r.ops {
		for bit, m := range r.to[i].members {
			if r.votes[i].yes.Has(bit) {
				continue
			}
			l := byStorage[m.Storage]
			if l == nil {
				l = &leg{member: m}
				byStorage[m.Storage] = l
				legs = append(legs, l)
			}
			l.at, l.bit = append(l.at, i), append(l.bit, bit)
		}
	}
	for _, l := range legs {
		l.call = peer.Call{
			Lane: peer.ReplicaWrites, Ring: r.s.Version(),
			Ops: r.ops, Results: make([]kv.Result, len(l.at)),
		}
		if len(l.at) < len(r.ops) {
			l.call.Ops = make([]kv.Op, len(l.at))
			for i, at := range l.at {
				l.call.Ops[i] = r.ops[at]
			}
		}
	}
	return legs
}

// legsOfOne is legs of a single operation, as most are.
func (r *round) legsOfOne() []*leg {
	members := r.to[0].members
	legs, all := make([]*leg, 0, len(members)), make([]legOfOne, len(members))
	for bit, m := range members {
		if r.votes[0].yes.Has(bit) {
			continue
		}
		l := &all[bit]
		l.places = [2]int{0, bit}
		l.leg = leg{
			member: m, at: l.places[:1], bit: l.places[1:],
			call: peer.Call{Lane: peer.ReplicaWrites, Ring: r.s.Version(), Ops: r.ops, Results: l.results[:]},
		}
		legs = append(legs, &l.leg)
	}
	return legs
}

// legOfOne is a leg of one operation, in one piece of memory.
type legOfOne struct {
	leg
	places  [2]int
	results [1]kv.Result
}

// took counts what came of a leg; err is why it got no results.
func (r *round) took(l *leg, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, at := range l.at {
		result := &l.call.Results[i]
		if err != nil {
			*result = kv.Result{Err: err}
		}
		r.count(at, l.bit[i], l.member, result)
	}
}

// count counts what one replica said to one operation. mu is held.
func (r *round) count(at, bit int, m *ring.Member, result *kv.Result) {
	op, v := &r.ops[at], &r.votes[at]
	switch {
	case result.Err == nil && op.Verb != kv.Apply:
		v.yes = v.yes.With(bit)
		v.answers = append(v.answers, quorum.Answer{Replica: bit, Entry: result.Entry})
	case result.Err == nil && result.Entry.Version == op.Version:
		v.yes = v.yes.With(bit)
		v.durable += result.Receipt.Durable
	case result.Err == nil:
		v.no = v.no.With(bit)
		v.newer = true
		v.faults = append(v.faults, fmt.Errorf("%s holds a newer version", m.Name))
	default:
		v.no = v.no.With(bit)
		v.faults = append(v.faults, result.Err)
		switch {
		case errors.Is(result.Err, peer.ErrStale):
			r.stale = m.Name
		case errors.Is(result.Err, kv.ErrConflict) && v.met.Compare(result.Entry.Version) < 0:
			v.met = result.Entry.Version
		}
		if op.Verb == kv.Apply && missed(result.Err) && m.Storage != r.node.id {
			v.hinted++
			r.node.hint(m, r.s.Ring.Partition(op.Key), op)
		}
	}
	r.settle(at)
}

// missed reports whether a replica that failed so is to be told later.
func missed(err error) bool {
	return errors.Is(err, peer.ErrUnavailable) || errors.Is(err, peer.ErrOverloaded) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// settle decides an operation as soon as more votes cannot change what becomes
// of it. Where all have been full so far, the others are waited for: that nobody
// has taken it is for all to say. mu is held.
func (r *round) settle(at int) {
	v, to := &r.votes[at], &r.to[at]
	full := v.yes == 0 && v.no.Count() < len(to.members) && all(v.faults, kv.ErrFull)
	if v.over || !to.write.Reached(v.yes) && (full || !to.write.Lost(v.no)) {
		return
	}
	v.over = true
	if r.open--; r.open == 0 {
		close(r.decided)
	}
}

// outcome returns nil where enough replicas did an operation, and says who did.
// Otherwise some may have done it, and the error is peer.ErrStale where it may
// be tried again under a newer ring, kv.ErrFull where nobody had room, or
// peer.ErrUnavailable; with it ctx's error where that is why.
func (r *round) outcome(ctx context.Context, at int) (kv.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, to := &r.votes[at], &r.to[at]
	newest := to.write[len(to.write)-1]
	receipt := kv.Receipt{
		N: to.n, Need: newest.Need, Ring: r.s.Version(),
		Answered: (v.yes & newest.Of).Count(), Durable: v.durable, Hinted: v.hinted,
	}
	switch {
	case to.write.Reached(v.yes):
		return receipt, nil
	case r.stale != "":
		return receipt, fmt.Errorf("%s knows a newer ring than %d: %w", r.stale, r.s.Version(), peer.ErrStale)
	case v.no.Count() == len(to.members) && (all(v.faults, kv.ErrFull) || all(v.faults, kv.ErrTooLarge)):
		return receipt, v.faults[0]
	case !v.over && ctx.Err() != nil:
		return receipt, fmt.Errorf("%d of %d replicas hold %q, %d are needed: %w",
			receipt.Answered, to.n, r.ops[at].Key, newest.Need, ctx.Err())
	}
	return receipt, &tooFew{receipt: receipt, key: bytes.Clone(r.ops[at].Key), faults: v.faults}
}

// all reports whether there are faults, and all of them are one.
func all(faults []error, is error) bool {
	for _, err := range faults {
		if !errors.Is(err, is) {
			return false
		}
	}
	return len(faults) > 0
}

// tooFew says that too few replicas did what was asked. It is
// peer.ErrUnavailable and nothing else: what single replicas said must not be
// taken for the answer.
type tooFew struct {
	receipt kv.Receipt
	key     []byte
	faults  []error
}

// Error names each replica's fault.
func (e *tooFew) Error() string {
	why := make([]string, len(e.faults))
	for i, err := range e.faults {
		why[i] = err.Error()
	}
	return fmt.Sprintf("%d of %d replicas answered for %q, %d are needed: %s",
		e.receipt.Answered, e.receipt.N, e.key, e.receipt.Need, strings.Join(why, "; "))
}

// Unwrap returns peer.ErrUnavailable.
func (e *tooFew) Unwrap() error { return peer.ErrUnavailable }

// promised reports whether a newer write was in the way of an operation.
func (r *round) promised(at int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.votes[at].faults {
		if errors.Is(err, kv.ErrConflict) {
			return true
		}
	}
	return false
}

// overtaken reports whether a replica holds something newer than an operation
// has brought.
func (r *round) overtaken(at int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.votes[at].newer
}

// met returns the newest version that stood in the way of a promise.
func (r *round) met(at int) kv.Version {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.votes[at].met
}

// staleBy returns the name of a node that knows a newer ring, "" where none
// has said so.
func (r *round) staleBy() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stale
}

// answers returns what those hold who have promised.
func (r *round) answers(at int) []quorum.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.votes[at].answers)
}
