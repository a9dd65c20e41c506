package topology

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFounderServesEverything(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", true)
		w.await(1, "n1")
		if s := k.State(); s.Ring.Owned(s.Self) != 64 || s.Cluster() == "" {
			t.Errorf("owns %d partitions of cluster %q", s.Ring.Owned(s.Self), s.Cluster())
		}
	})
}

func TestNodesThatComeTogetherAreTakenInTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		for _, name := range []string{"n2", "n3", "n4"} {
			w.start(name, false)
		}
		w.await(4, "n1", "n2", "n3", "n4")
		for name, p := range w.places {
			if s := p.keeper.State(); s.Version() != 2 {
				t.Errorf("%s is at ring %d, want 2: one change for all", name, s.Version())
			}
		}
	})
}

func TestFoundersThatStartTogetherAgree(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range []string{"n3", "n1", "n2"} {
			w.start(name, true)
		}
		w.await(3, "n1", "n2", "n3")
	})
}

func TestNobodyFoundsWhoMayNot(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", false)
		w.pass(time.Minute)
		if k.State() != nil {
			t.Error("a node that only joins has founded a cluster")
		}
	})
}

// A request that an owner admitted under the old ring may still write. Nobody
// may serve its partition anew before it has ended.
func TestChangeWaitsForRequestsUnderTheOldRing(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", true)
		w.await(1, "n1")
		old := k.Acquire()
		joiner := w.start("n2", false)
		w.pass(20 * time.Second)
		s := joiner.State()
		if s == nil || s.Self < 0 {
			t.Fatal("the joiner does not know the ring that has it")
		}
		for p := range s.Ring.Partitions() {
			if s.Owner(p) == s.Self && s.Open(p) {
				t.Fatalf("partition %d is open while a request of its former owner runs", p)
			}
		}
		old.Release()
		w.await(2, "n1", "n2")
	})
}

func TestMemberThatIsDownStallsAJoin(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		w.start("n2", false)
		w.await(2, "n1", "n2")
		w.kill("n2")
		joiner := w.start("n3", false)
		w.pass(time.Minute)
		if s := joiner.State(); s.Version() != 2 {
			t.Fatalf("ring %d came about without a member of ring 2", s.Version())
		}
		w.start("n2", false)
		w.await(3, "n1", "n2", "n3")
	})
}

// What the new owner of a partition writes must supersede what its former
// owner acknowledged, also where that one's clock ran ahead.
func TestClocksTravelWithAcknowledgements(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		ahead := uint64(time.Now().Add(time.Hour).UnixMilli()) << 16
		w.places["n1"].clock.Observe(ahead)
		w.start("n2", false)
		w.await(2, "n1", "n2")
		if got := w.places["n2"].clock.Next(1); got <= ahead {
			t.Errorf("the joiner's next stamp is %d, not above %d", got, ahead)
		}
	})
}

// Whatever is lost and whoever crashes, a partition never has two servers
// (world.pass checks it), and all is well once the faults end.
func TestOneServerUnderFaults(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				names := []string{"n1", "n2", "n3", "n4", "n5"}
				w.start("n3", true)
				w.await(1, "n3")
				w.lose(rand.New(rand.NewPCG(seed, 2)))
				for range 100 {
					name := names[rnd.IntN(len(names))]
					switch {
					case !w.up(name):
						// A founder that comes back finds the others, for one
						// of them is always up.
						w.comeBack(rnd, name)
					case w.others(name) > 0 && rnd.IntN(2) == 0:
						w.kill(name)
					}
					w.pass(time.Duration(rnd.IntN(1500)) * time.Millisecond)
				}
				w.lose(nil)
				for _, name := range names {
					if !w.up(name) {
						w.comeBack(rnd, name)
					}
				}
				w.await(len(names), names...)
			})
		})
	}
}

// comeBack starts a node anew, over what its last process left or over an empty
// store.
func (w *world) comeBack(rnd *rand.Rand, name string) {
	if w.places[name] != nil && rnd.IntN(2) == 0 {
		w.restart(name)
		return
	}
	w.start(name, false)
}

// others counts the nodes beside one that are up and know a ring.
func (w *world) others(but string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for name, p := range w.places {
		if name != but && p.up && p.keeper.State() != nil {
			n++
		}
	}
	return n
}

// A member acknowledges a change, restarts, and first hears of the ring before
// the change. What it acknowledged must not count any more, or it must not
// serve under that ring.
func TestRestartAfterAnAcknowledgement(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range []string{"n1", "n2", "n3"} {
			w.start(name, name == "n1")
		}
		w.await(3, "n1", "n2", "n3")
		base := w.places["n2"].keeper.State().Version()
		slow := func(from, to, question string) (time.Duration, bool) {
			switch {
			case from == "n1" && to == "n3" && question == Offer:
				return 1500 * time.Millisecond, false
			case from == "n2": // hears of n3 only, which has not heard of the change
				return 1900 * time.Millisecond, to != "n3"
			case from == "n3" && question == Pull:
				return 1400 * time.Millisecond, true
			}
			return 0, false
		}
		w.breaks(slow)
		w.start("n4", false)
		for w.places["n2"].keeper.State().Version() == base {
			w.pass(10 * time.Millisecond)
		}
		w.pass(100 * time.Millisecond) // it has acknowledged
		w.kill("n2")
		w.breaks(func(from, to, question string) (time.Duration, bool) {
			if from == "n1" && to == "n2" {
				return 0, true
			}
			if from == "n2" && to == "n3" {
				return 0, false
			}
			return slow(from, to, question)
		})
		w.start("n2", false)
		for range 60 {
			w.pass(100 * time.Millisecond)
		}
		w.breaks(nil)
		w.await(4, "n1", "n2", "n3", "n4")
	})
}

// The driver crashes when it has told one member of a change, and comes back
// knowing nothing of it. It must not write another record of that number.
func TestDriverThatForgotItsRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range []string{"n1", "n2", "n3"} {
			w.start(name, name == "n1")
		}
		w.await(3, "n1", "n2", "n3")
		base := w.places["n2"].keeper.State().Version()
		w.breaks(func(from, to, question string) (time.Duration, bool) {
			changed := len(w.places["n1"].keeper.State().Ring.Members()) > 3
			return 0, changed && (from == "n1" && to != "n2" || from == "n3")
		})
		w.start("n4", false)
		for w.places["n2"].keeper.State().Version() == base {
			w.pass(10 * time.Millisecond)
		}
		w.kill("n1")
		w.kill("n4")
		w.breaks(func(from, to, question string) (time.Duration, bool) {
			return 0, to == "n2" || from == "n2" // who alone knows it
		})
		w.start("n1", false)
		w.start("n5", false)
		w.pass(20 * time.Second)
		w.breaks(nil)
		w.start("n4", false)
		w.await(5, "n1", "n2", "n3", "n4", "n5")
	})
}

func record(version uint64, cluster string, members ...string) ring.Record {
	r := ring.Record{Version: version, Cluster: cluster, Partitions: 64, Replicas: 1}
	for _, name := range members {
		r.Members = append(r.Members, ring.Member{Name: name, Weight: 1})
	}
	return r
}

func TestAdoptRefuses(t *testing.T) {
	one := record(1, "c", "n1")
	two := record(2, "c", "n1", "n2")
	rival := record(2, "c", "n1", "n3")
	for _, tt := range []struct {
		name    string
		history []ring.Record
		settled uint64
	}{
		{"another cluster", []ring.Record{record(1, "d", "n1"), record(2, "d", "n1", "n2"), record(3, "d", "n1")}, 3},
		{"a gap", []ring.Record{one, two, record(4, "c", "n1")}, 4},
		{"a history that begins late", []ring.Record{two}, 2},
		{"the rival of a record, settled", []ring.Record{one, rival}, 2},
		{"another number of partitions", []ring.Record{one, two, {Version: 3, Cluster: "c", Partitions: 32, Replicas: 1, Members: one.Members}}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				k := w.start("n1", false)
				if err := k.adopt(w.t.Context(), []ring.Record{one, two}, 1); err != nil {
					t.Fatal(err)
				}
				before := k.State()
				if err := k.adopt(w.t.Context(), tt.history, tt.settled); err == nil {
					t.Error("no error")
				}
				if k.State() != before {
					t.Error("it was adopted all the same")
				}
			})
		})
	}
}

func TestOlderRingIsIgnored(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", false)
		one, two := record(1, "c", "n1"), record(2, "c", "n1", "n2")
		for _, history := range [][]ring.Record{{one, two}, {one}} {
			if err := k.adopt(w.t.Context(), history, 0); err != nil {
				t.Fatal(err)
			}
		}
		if v := k.State().Version(); v != 2 {
			t.Errorf("ring %d, want 2", v)
		}
	})
}

func TestFormerOwnersAreRemembered(t *testing.T) {
	var rings []*ring.Ring
	for i, members := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
		r, err := ring.New(record(uint64(i)+1, "c", members...))
		if err != nil {
			t.Fatal(err)
		}
		rings = append(rings, r)
	}
	s := newState("c", rings, false)
	twice := 0
	for p := range 64 {
		want := map[string]bool{}
		for _, r := range rings {
			want[r.Members()[r.Replicas(p)[0]].Name] = true
		}
		delete(want, s.MemberName(s.Owner(p)))
		for _, at := range s.Former(p) {
			if !want[s.MemberName(at)] {
				t.Errorf("partition %d: %s is no former owner", p, s.MemberName(at))
			}
			delete(want, s.MemberName(at))
		}
		if len(want) > 0 {
			t.Errorf("partition %d: former owners %v are forgotten", p, want)
		}
		if len(s.Former(p)) == 2 {
			twice++
		}
		if s.Returned(p) {
			t.Errorf("partition %d: c has it for the first time", p)
		}
		if gained := rings[1].Replicas(p)[0] != rings[2].Replicas(p)[0]; s.Open(p) == gained {
			t.Errorf("partition %d: open %v, gained %v", p, s.Open(p), gained)
		}
	}
	if twice == 0 {
		t.Error("no partition moved twice: the test shows too little")
	}
}

// An owner that has a partition for the second time may hold keys that were
// written elsewhere since.
func TestReturnedPartitionsAreKnown(t *testing.T) {
	var rings []*ring.Ring
	for i, members := range [][]string{{"a"}, {"a", "b"}, {"a"}} {
		r, err := ring.New(record(uint64(i)+1, "c", members...))
		if err != nil {
			t.Fatal(err)
		}
		rings = append(rings, r)
	}
	s := newState("a", rings, true)
	for p := range 64 {
		if between := rings[1].Members()[rings[1].Replicas(p)[0]].Name == "b"; s.Returned(p) != between {
			t.Errorf("partition %d: returned %v, at b in between %v", p, s.Returned(p), between)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", false)
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		if _, err := k.Wait(ctx, func(*State) bool { return true }); err == nil {
			t.Error("no error although no ring is known")
		}
	})
}
