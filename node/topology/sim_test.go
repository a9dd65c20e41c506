package topology

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

// simNames are the machines of a simulation.
var simNames = []string{"a", "b", "c", "d", "e"}

// simWrites bounds the writes of a simulation, each of a key of its own.
const simWrites = 64

// sim runs the pure rules of this package, and requests that keep to the rules
// for them, in an order that chance decides: messages arrive late, twice or
// never, nodes crash, and lose their stores. There is one partition.
type sim struct {
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	nodes   []*simNode
	flying  []func()              // messages
	slow    []func()              // those that fly for long
	rings   map[string]*ring.Ring // of all simulations, by record
	made    map[uint64]*ring.Ring // of this one, by version
	decided map[uint64]*ring.Record
	nextID  uint64
	writes  int
	acked   uint64 // a bit for each write that was acknowledged
	log     []string
}

// simNode is one storage identity.
type simNode struct {
	sim   *sim
	name  string
	id    uint64
	led   *ledger
	store uint64 // a bit for each write that it holds
	wiped bool   // the identity is lost
	prop  *proposer
	asked bool            // the proposer has asked to accept
	ops   []*simOp        // writes that it coordinates
	pulls map[uint64]bool // whom it has compared with for version pullV[0], while it reads from pullV[1]
	pullV [2]uint64
}

// simOp is a write under way.
type simOp struct {
	bit  uint64
	live []*ring.Ring
	got  map[uint64]bool
}

func newSim(t *testing.T, seed uint64, rings map[string]*ring.Ring) *sim {
	s := &sim{
		t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), rings: rings, made: map[uint64]*ring.Ring{},
		decided: map[uint64]*ring.Record{},
	}
	first := ring.Record{Version: 1, Cluster: "c", Partitions: 1, Replicas: 3}
	members := []int{1, 2, 3, 3, 3, 3, 4, 4}[s.rnd.IntN(8)]
	for i, name := range simNames {
		n := s.add(name)
		if i < members {
			first.Members = append(first.Members, ring.Member{Name: name, Storage: n.id, Weight: 1})
		}
	}
	for _, n := range s.nodes[:members] {
		n.led.Records, n.led.Read = []ring.Record{first}, 1
		for _, m := range first.Members {
			n.led.Numbers[m.Storage] = Numbers{1, 1, 1}
		}
	}
	return s
}

// add starts a node with an empty store.
func (s *sim) add(name string) *simNode {
	s.nextID++
	n := &simNode{sim: s, name: name, id: s.nextID}
	n.led = (&ledger{Storage: n.id}).clone()
	s.nodes = append(s.nodes, n)
	return n
}

func (s *sim) logf(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	for _, line := range s.log[max(0, len(s.log)-60):] {
		s.t.Log(line)
	}
	for _, n := range s.nodes {
		if l := n.led; l.hi() > 0 {
			s.t.Logf("%s%d wiped=%v %d..%d read=%d seal=%d %+v store=%b members=%v removed=%v", n.name, n.id, n.wiped,
				l.lo(), l.hi(), l.Read, l.Seal, l.Numbers, n.store, l.newest().Members, l.newest().Removed)
		}
	}
	s.t.Fatalf("seed %d: %s", s.seed, fmt.Sprintf(format, args...))
}

// ringsOf returns the rings of a ledger.
func (s *sim) ringsOf(l *ledger) []*ring.Ring {
	var out []*ring.Ring
	for _, r := range l.Records {
		if made := s.made[r.Version]; made != nil {
			out = append(out, made)
			continue
		}
		key := fmt.Sprint(r)
		if s.rings[key] == nil {
			made, err := ring.New(r)
			if err != nil {
				s.fail("ring %+v: %v", r, err)
			}
			s.rings[key] = made
		}
		s.made[r.Version] = s.rings[key] // update checks that versions have one record
		out = append(out, s.rings[key])
	}
	return out
}

// update changes a node's ledger as Keeper.update does, and checks what must
// hold of every change.
func (n *simNode) update(change func(*ledger) error) {
	old, next := n.led, n.led.clone()
	if err := change(next); err != nil {
		n.sim.fail("%s%d: %v", n.name, n.id, err)
	}
	next.advance()
	n.sim.checkRecords(next)
	gained, lost := moved(n.id, n.sim.ringsOf(old), n.sim.ringsOf(next))
	if next.hi() > 0 {
		next.Clean = cleanAfter(next, n.sim.ringsOf(next), lost)
	}
	if old.hi() > 0 || next.hi() != 1 {
		if len(gained) > 0 {
			n.store = 0
		}
	}
	n.led = next
	if next.Read > old.Read && old.hi() > 0 && n.led.takesPart() {
		n.checkRead()
	}
}

// checkRecords checks that no version has two records.
func (s *sim) checkRecords(l *ledger) {
	for i := range l.Records {
		r := &l.Records[i]
		if was := s.decided[r.Version]; was != nil && !sameRecord(was, r) {
			s.fail("version %d has two records:\n%+v\n%+v", r.Version, *was, *r)
		}
		s.decided[r.Version] = r
	}
}

// checkRead checks that reads have not moved too early.
func (n *simNode) checkRead() {
	for _, m := range n.led.record(n.led.Read).Members {
		if _, forgotten := n.led.removed(m.Storage); forgotten {
			n.sim.fail("%s%d reads from %d, of which %s is forgotten", n.name, n.id, n.led.Read, m.Name)
		}
		if other := n.sim.node(m.Storage); other.led.own().Sync < n.led.Read {
			n.sim.fail("%s%d reads from %d, which %s%d has not synced", n.name, n.id, n.led.Read, other.name, other.id)
		}
	}
}

func (s *sim) node(id uint64) *simNode { return s.nodes[id-1] }

func (n *simNode) knowledge() Knowledge {
	return Knowledge{Storage: n.id, Records: n.led.Records, Numbers: n.led.Numbers}
}

func (n *simNode) learn(in Knowledge) {
	if !n.wiped {
		n.update(func(l *ledger) error { return l.merge(&in) })
	}
}

// runs reports whether a node takes part in anything.
func (n *simNode) runs() bool {
	_, forgotten := n.led.removed(n.id)
	return !n.wiped && n.led.hi() > 0 && !forgotten
}

// send lets a message fly: it may be lost, and arrive twice.
func (s *sim) send(message func()) {
	for range []int{0, 1, 1, 1, 1, 2}[s.rnd.IntN(6)] {
		s.flying = append(s.flying, message)
	}
}

// sendSlowly is send of what may take much longer than other messages.
func (s *sim) sendSlowly(message func()) {
	if s.rnd.IntN(3) > 0 {
		s.send(message)
		return
	}
	s.slow = append(s.slow, message)
}

// arrive lets one of some messages arrive.
func (s *sim) arrive(messages *[]func()) {
	i, last := s.rnd.IntN(len(*messages)), len(*messages)-1
	message := (*messages)[i]
	(*messages)[i] = (*messages)[last]
	*messages = (*messages)[:last]
	message()
}

// step does one thing.
func (s *sim) step() {
	switch dice := s.rnd.IntN(100); {
	case dice < 60 && len(s.flying) > 0:
		s.arrive(&s.flying)
		return
	case dice < 62 && len(s.slow) > 0:
		s.arrive(&s.slow)
		return
	}
	n := s.nodes[s.rnd.IntN(len(s.nodes))]
	if n.wiped {
		return
	}
	switch dice := s.rnd.IntN(100); {
	case dice < 10:
		for _, to := range s.nodes {
			n.tell(to)
		}
	case !n.runs():
	case dice < 30:
		n.ack()
	case dice < 75:
		for range 3 {
			n.pull()
		}
	case dice < 84:
		n.write()
	case dice < 92:
		n.propose(n.anyChange)
	case dice < 94:
		n.crash()
	case dice < 95:
		n.wipe()
	case dice < 96:
		n.clean()
	case dice < 97:
		n.ops = nil // gives up; what flies may still arrive
	}
}

// tell sends what a node knows to another.
func (n *simNode) tell(to *simNode) {
	if know := n.knowledge(); n.led.hi() > 0 && !to.wiped {
		n.sim.send(func() { to.learn(know) })
	}
}

func (n *simNode) ack() {
	if !n.led.takesPart() {
		return
	}
	v := n.led.hi()
	for _, op := range n.ops {
		v = min(v, op.live[len(op.live)-1].Version())
	}
	n.update(func(l *ledger) error {
		l.raise(Numbers{Ack: v})
		return nil
	})
}

// tasks returns what is still to be compared for version v.
func (n *simNode) tasks(v uint64) []Task {
	live := n.sim.ringsOf(n.led)[n.led.Read-n.led.lo() : v-n.led.lo()+1]
	if at := ([2]uint64{v, n.led.Read}); n.pullV != at {
		n.pullV, n.pulls = at, map[uint64]bool{}
	}
	tasks := plan(n.id, live, gone(n.led.newest()), func(ring.Member) bool { return true })
	var left []Task
	for _, task := range tasks {
		for _, g := range task.Groups {
			for _, m := range g.Members {
				if n.pulls[m.Storage] {
					g.Need--
				}
			}
			if g.Need > 0 {
				left = append(left, Task{task.Partition, []Group{g}})
			}
		}
	}
	return left
}

// pull compares a partition with one source, or finds that all is synced.
func (n *simNode) pull() {
	v := n.led.toSync()
	if v == 0 {
		return
	}
	if r := n.sim.ringsOf(n.led)[v-n.led.lo()]; r.IndexOf(n.id) >= 0 {
		n.update(func(l *ledger) error { l.Seal = max(l.Seal, v); return nil })
	}
	tasks := n.tasks(v)
	if len(tasks) == 0 {
		n.sim.logf("%s%d has synced %d", n.name, n.id, v)
		n.update(func(l *ledger) error { l.raise(Numbers{Sync: v}); return nil })
		return
	}
	task := tasks[n.sim.rnd.IntN(len(tasks))]
	g := task.Groups[0]
	from := n.sim.node(g.Members[n.sim.rnd.IntN(len(g.Members))].Storage)
	if from.wiped {
		return
	}
	from.learn(n.knowledge())
	if from.led.lo() > g.Version {
		return
	}
	from.update(func(l *ledger) error { l.Seal = max(l.Seal, v); return nil })
	n.store |= from.store
	n.pulls[from.id] = true
}

// crash ends a process and begins another over the same store.
func (n *simNode) crash() {
	n.sim.logf("%s%d crashes", n.name, n.id)
	n.prop, n.ops, n.pulls = nil, nil, map[uint64]bool{}
}

// wipe loses a store, where all that was lost before has been made good. The
// machine comes back under its name, as another.
func (n *simNode) wipe() {
	hi := n.led.hi()
	for _, o := range n.sim.nodes {
		if o.runs() && (o.led.lo() != hi || o.led.hi() != hi) {
			return
		}
	}
	if len(n.led.newest().Members) < 3 || n.sim.anyLost() {
		return
	}
	n.sim.logf("%s%d loses its store", n.name, n.id)
	n.crash()
	n.wiped, n.store = true, 0
	n.sim.add(n.name)
}

func (n *simNode) clean() {
	if n.led.lo() != n.led.hi() || len(n.led.Clean) == 0 {
		return
	}
	n.store = 0
	n.update(func(l *ledger) error { l.Clean = nil; return nil })
}
