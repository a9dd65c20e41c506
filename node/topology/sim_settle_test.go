package topology

import (
	"math/bits"
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

// settle lets everything arrive and go on, and checks that changes complete.
func (s *sim) settle() {
	s.flying, s.slow = nil, nil
	for range 400 {
		for _, n := range s.nodes {
			if n.wiped {
				continue
			}
			n.ops = nil
			for _, o := range s.nodes {
				if !o.wiped && n.led.hi() > 0 {
					o.learn(n.knowledge())
				}
			}
			if !n.runs() {
				continue
			}
			n.ack()
			n.pull()
			n.clean()
			s.check()
			if s.rnd.IntN(4) == 0 && s.anyLost() && n.led.hi() == uint64(len(s.decided)) {
				n.propose(n.replaceLost)
			}
			for len(s.flying) > 0 {
				message := s.flying[0]
				s.flying = s.flying[1:]
				message()
			}
		}
		if s.settled() || s.hopeless() {
			return
		}
	}
	s.fail("nothing is lost any more, and yet a change does not complete")
}

func (n *simNode) replaceLost() change {
	for _, o := range n.sim.nodes {
		if _, forgotten := n.led.removed(o.id); o.wiped && !forgotten && n.led.lives(o.id) {
			return change{forget: []uint64{o.id}}
		}
	}
	return change{}
}

// hopeless reports whether the newest version has no majority left: it takes
// force to go on then.
func (s *sim) hopeless() bool {
	there := map[uint64]bool{}
	for _, n := range s.nodes {
		there[n.id] = !n.wiped
	}
	newest := s.decided[uint64(len(s.decided))]
	if !majority(newest, there) {
		return true
	}
	for _, n := range s.nodes {
		if c := n.replaceLost(); n.runs() && n.led.hi() == newest.Version && !c.empty() {
			_, err := next(s.ringsOf(n.led), c)
			return err != nil
		}
	}
	return false
}

func (s *sim) settled() bool {
	newest := uint64(len(s.decided))
	for _, n := range s.nodes {
		if n.runs() && n.led.takesPart() && (n.led.lo() != newest || n.led.Read != newest) {
			return false
		}
	}
	return true
}

// The promise of the package, over many orders in which things may happen.
func TestNoOrderOfThingsLosesAWrite(t *testing.T) {
	t.Parallel()
	rings := map[string]*ring.Ring{}
	versions, writes, hopeless, completed := 0, 0, 0, uint64(0)
	for seed := range uint64(800) {
		s := newSim(t, seed, rings)
		complete := uint64(0)
		for i := range 900 {
			s.step()
			if i%4 == 0 {
				s.check()
			}
		}
		for _, n := range s.nodes {
			complete = max(complete, n.led.lo())
		}
		completed += complete - 1
		s.settle()
		if s.hopeless() {
			hopeless++
		}
		versions += len(s.decided)
		writes += bits.OnesCount64(s.acked)
	}
	if versions < 2000 || writes < 5000 {
		t.Errorf("%d versions, %d writes: it shows too little", versions, writes)
	}
	t.Logf("%d versions, %d changes completed under way, %d writes, %d need force", versions, completed, writes, hopeless)
}
