package topology

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A write that was admitted under the old ring may still be applied there
// alone. Nobody may compare for the new one before it has ended.
func TestChangeWaitsForRequestsUnderTheOldRing(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", true)
		w.await(1, "n1")
		old := k.Acquire()
		joiner := w.start("n2", false)
		w.pass(20 * time.Second)
		s := joiner.State()
		if s == nil || s.Self < 0 || s.Own().Ack != 2 {
			t.Fatal("the joiner does not know the ring that has it")
		}
		if s.Read.Version() != 1 || s.Own().Sync > 1 || k.State().Own().Ack != 1 {
			t.Errorf("read %d, joiner %+v, founder %+v", s.Read.Version(), s.Own(), k.State().Own())
		}
		if got := joiner.Waiting(w.places["n2"].View()); !slices.Equal(got, []string{"n1"}) {
			t.Errorf("waits for %v, want n1", got)
		}
		old.Release()
		w.await(2, "n1", "n2")
	})
}

// A node that is only joining neither slows nor stops what others do; one that
// is down stalls a change until it is back, and is named.
func TestMemberThatIsDownStallsAChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		w.kill("n2")
		w.start("n4", false)
		w.pass(time.Minute)
		s := w.state("n1")
		if s.Version() != 3 || s.Settled() || s.Read.Version() != 2 {
			t.Fatalf("ring %d, settled %v, reads %d", s.Version(), s.Settled(), s.Read.Version())
		}
		if got := w.places["n1"].keeper.Waiting(w.places["n1"].View()); !slices.Equal(got, []string{"n2"}) {
			t.Errorf("waits for %v, want n2", got)
		}
		if !w.write("n1", 3) {
			t.Error("a write is not acknowledged meanwhile")
		}
		w.restart("n2")
		w.await(4, "n1", "n2", "n3", "n4")
	})
}

// What one has and the others do not is compared before reads move, and deleted
// only after that.
func TestWritesSurviveChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		names := []string{"n1"}
		for _, name := range []string{"n2", "n3", "n4", "n5"} {
			for p := range worldPartitions {
				if !w.write("n1", p) {
					t.Fatalf("partition %d cannot be written", p)
				}
			}
			w.start(name, false)
			names = append(names, name)
			w.await(len(names), names...)
		}
		w.awaitThat("n1 deletes what it does not hold", func() bool {
			return len(w.state("n1").ledger.Clean) == 0 && len(w.places["n1"].data.cleaned) > 0
		})
		s := w.state("n1")
		for _, p := range w.places["n1"].data.cleaned {
			if s.Ring.Holds(p, s.Self) {
				t.Errorf("it has deleted partition %d, which it holds", p)
			}
		}
	})
}

func TestClocksTravel(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		ahead := uint64(time.Now().Add(300*time.Millisecond).UnixMilli()) << 16
		w.places["n1"].clock.Observe(ahead)
		k := w.start("n2", false)
		if err := k.Refresh(w.t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		if got := w.places["n2"].clock.Last(); got < ahead {
			t.Errorf("the joiner's clock is at %d, not at %d", got, ahead)
		}
	})
}

// Who has it sealed waits for what was let in before, as far as it has to. A
// request may itself wait for another node, which waits for this one's.
func TestSealWaitsForNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		k := w.places["n1"].keeper
		defer k.Acquire().Release()
		if err := w.soon(func(ctx context.Context) error { return k.Seal(ctx, 1) }); err != nil {
			t.Error(err)
		}
		if k.State().Seal != 1 {
			t.Errorf("new requests meet seal %d", k.State().Seal)
		}
		if err := k.Seal(w.t.Context(), 2); err == nil {
			t.Error("sealed for a version that is not known")
		}
	})
}

// The smaller side of a split neither takes anybody in nor gives anybody up.
func TestMinorityChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3", "n4", "n5")
		smaller := []string{"n1", "n2", "n6"}
		w.breaks(func(from, to, _ string) (time.Duration, bool) {
			return 0, slices.Contains(smaller, from) != slices.Contains(smaller, to)
		})
		w.start("n6", false)
		w.kill("n5")
		w.pass(20 * time.Second)
		err := w.in(func(ctx context.Context) error { return w.places["n1"].keeper.Forget(ctx, "n5", false) })
		if !errors.Is(err, ErrTooFew) {
			t.Errorf("%v, want ErrTooFew", err)
		}
		if s := w.state("n1"); s.Version() != 2 {
			t.Errorf("the smaller side has ring %d", s.Version())
		}
		w.breaks(nil)
		w.restart("n5")
		w.await(6, "n1", "n2", "n3", "n4", "n5", "n6")
	})
}

// A proposer that dies when one member has accepted its record leaves nothing
// that stalls the others.
func TestVoteThatIsLeftHalfway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		w.breaks(func(from, to, question string) (time.Duration, bool) {
			late := time.Duration(0)
			if from == "n1" && question == askAccept {
				late = 50 * time.Millisecond
			}
			return late, from == "n1" && question == askAccept && to == "n3" || from == "n2" && to == "n1"
		})
		w.start("n4", false)
		w.awaitThat("n2 accepts", func() bool { return w.state("n2").ledger.Vote.Record != nil || w.state("n2").Version() > 2 })
		w.kill("n1")
		w.breaks(nil)
		w.start("n5", false)
		w.awaitThat("n2 and n3 go on", func() bool { return w.state("n3").Ring.Index("n5") >= 0 })
		w.restart("n1")
		w.await(5, "n1", "n2", "n3", "n4", "n5")
	})
}

// A node that is the only source that it needs waits for what it has let in, as
// others do.
func TestCompareIsAskedForWithoutTasks(t *testing.T) {
	inWorld(t, func(w *world) {
		w.replicas = 1
		w.founded("n1", "n2")
		data := w.places["n1"].data
		if !slices.Equal(data.asked, []uint64{2}) || len(data.compared) > 0 {
			t.Errorf("asked to compare for rings %v, and has compared %v", data.asked, data.compared)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", false)
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		if _, err := k.Wait(ctx, func(*State) bool { return true }); !errors.Is(err, ErrNoRing) {
			t.Errorf("%v, want ErrNoRing", err)
		}
	})
}

// Whatever is lost, late, crashes or comes back empty: no version has two
// records, no acknowledged write can be missed (world.pass checks both), and
// all is well once the faults end.
func TestPromisesUnderFaults(t *testing.T) {
	acked := make(chan int, 100)
	t.Run("seeds", func(t *testing.T) {
		for seed := range uint64(10) {
			t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
				inWorld(t, func(w *world) { acked <- w.suffer(seed) })
			})
		}
	})
	close(acked)
	sum := 0
	for n := range acked {
		sum += n
	}
	if sum < 100 {
		t.Errorf("%d writes were acknowledged: it shows too little", sum)
	}
}

// suffer puts a cluster through faults, and returns how many writes were
// acknowledged under them.
func (w *world) suffer(seed uint64) (acked int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	names := []string{"n1", "n2", "n3", "n4", "n5"}
	w.founded("n1", "n2", "n3")
	w.lose(rand.New(rand.NewPCG(seed, 2)))
	down := ""
	for range 40 {
		name := names[rnd.IntN(len(names))]
		switch {
		case w.places[name] == nil:
			w.start(name, false)
		case down == "" && w.state(name) != nil:
			w.kill(name)
			down = name
		case down != "":
			w.comeBack(rnd, down)
			down = ""
		}
		for range 4 {
			if by := names[rnd.IntN(len(names))]; w.up(by) && w.write(by, rnd.IntN(worldPartitions)) {
				acked++
			}
		}
		w.pass(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		w.replaceRemoved()
	}
	w.lose(nil)
	for _, name := range names {
		if w.places[name] == nil {
			w.start(name, false)
		} else if !w.up(name) {
			w.restart(name)
		}
	}
	w.awaitThat("all are members", func() bool {
		w.replaceRemoved()
		return w.settled(len(names), names)
	})
	return acked
}

// comeBack starts a node anew, over what its last process left; or over an empty
// store, where all others are settled, so that what it held is elsewhere.
func (w *world) comeBack(rnd *rand.Rand, name string) {
	var others []string
	for other := range w.places {
		if other != name {
			others = append(others, other)
		}
	}
	s := w.state(others[0])
	if rnd.IntN(2) == 0 && s != nil && len(s.Ring.Members()) >= 3 && w.settled(len(s.Ring.Members()), others) {
		w.start(name, false)
		return
	}
	w.restart(name)
}

// replaceRemoved does what the process of a node that is out of the ring does.
func (w *world) replaceRemoved() {
	for name, p := range w.places {
		select {
		case <-p.ended:
			if p.up && errors.Is(p.err, ErrRemoved) {
				w.kill(name)
				w.start(name, false)
			}
		default:
		}
	}
}
