package topology

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// in calls something that takes its time, and returns its error.
func (w *world) in(do func(ctx context.Context) error) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	for {
		w.pass(50 * time.Millisecond)
		select {
		case err := <-done:
			return err
		default:
		}
	}
}

func TestLeave(t *testing.T) {
	for _, leaver := range []string{"n1", "n3"} { // the first in the order of names, and another
		t.Run(leaver, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.replicas = 1
				w.founded("n1", "n2", "n3")
				for p := range worldPartitions {
					if !w.write("n2", p) {
						t.Fatalf("partition %d cannot be written", p)
					}
				}
				k := w.places[leaver].keeper
				if err := w.in(k.Leave); err != nil {
					t.Fatal(err)
				}
				select {
				case <-k.Left():
				default:
					t.Error("it has left, and does not say so")
				}
				w.kill(leaver)
				others := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(name string) bool { return name == leaver })
				w.await(2, others...)
				w.restart(leaver)
				w.awaitThat("its old identity ends", func() bool { return w.endedRemoved(leaver) })
				w.kill(leaver)
				w.start(leaver, false)
				w.await(3, "n1", "n2", "n3")
			})
		})
	}
}

// ended returns what Run of a node has returned, nil while it has not.
func (w *world) ended(name string) error {
	select {
	case <-w.places[name].ended:
		return w.places[name].err
	default:
		return nil
	}
}

// endedRemoved reports whether Run of a node has returned ErrRemoved.
func (w *world) endedRemoved(name string) bool { return errors.Is(w.ended(name), ErrRemoved) }

func TestLastMemberDoesNotLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		if err := w.in(w.places["n1"].keeper.Leave); !errors.Is(err, ErrLastMember) {
			t.Errorf("%v, want ErrLastMember", err)
		}
		if w.places["n1"].facts.Leaving {
			t.Error("it stays, and says that it leaves")
		}
	})
}

// A leave that would make the others wait for one that is down does not begin.
func TestLeaveWaitsForAMajority(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		w.kill("n3")
		err := w.in(w.places["n1"].keeper.Leave)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want DeadlineExceeded", err)
		}
		if s := w.state("n2"); s.Version() != 2 || w.places["n1"].facts.Leaving {
			t.Errorf("ring %d, leaving %v", s.Version(), w.places["n1"].facts.Leaving)
		}
	})
}

// What comes back empty under its name is another, and the old one is not waited
// for.
func TestEmptyNodeReplacesItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		old := w.places["n2"].storage
		for p := range worldPartitions {
			w.write("n2", p)
		}
		w.kill("n2")
		w.start("n2", false)
		w.awaitThat("it is a member again", func() bool {
			s := w.state("n1")
			return w.settled(3, []string{"n1", "n2", "n3"}) && s.Ring.IndexOf(old) < 0
		})
		if !w.state("n1").Forgotten(old) {
			t.Error("what it held is not forgotten")
		}
	})
}

func TestForget(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3", "n4")
		forget := func(by, name string, force bool) error {
			return w.in(func(ctx context.Context) error { return w.places[by].keeper.Forget(ctx, name, force) })
		}
		for _, force := range []bool{false, true} {
			if err := forget("n2", "n3", force); !errors.Is(err, ErrMemberUp) {
				t.Errorf("%v, want ErrMemberUp", err)
			}
			if err := forget("n2", "n9", force); !errors.Is(err, ErrNoMember) {
				t.Errorf("%v, want ErrNoMember", err)
			}
		}
		w.kill("n4")
		w.start("n5", false) // a change that n4 stalls
		w.pass(10 * time.Second)
		if err := forget("n2", "n4", false); err != nil {
			t.Fatal(err)
		}
		w.await(4, "n1", "n2", "n3", "n5")
		w.restart("n4")
		w.awaitThat("n4 knows that it is forgotten", func() bool { return w.endedRemoved("n4") })
	})
}

// A node that is no member asks one.
func TestForgetByANodeThatIsNoMember(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		w.change = func(c *Config) { c.Cache = true } // never taken in
		k := w.start("n4", false)
		w.pass(5 * time.Second)
		err := w.in(func(ctx context.Context) error { return k.Forget(ctx, "n2", false) })
		if !errors.Is(err, ErrMemberUp) || !strings.Contains(err.Error(), "n2") {
			t.Errorf("%v, want ErrMemberUp of n2", err)
		}
		w.kill("n2")
		if err := w.in(func(ctx context.Context) error { return k.Forget(ctx, "n2", false) }); err != nil {
			t.Error(err)
		}
		w.await(2, "n1", "n3")
	})
}

func TestForgetAfter(t *testing.T) {
	inWorld(t, func(w *world) {
		w.change = func(c *Config) { c.ForgetAfter = time.Hour }
		w.founded("n1", "n2", "n3")
		w.kill("n1")
		w.pass(59 * time.Minute)
		if s := w.state("n2"); s.Version() != 2 {
			t.Fatalf("ring %d before the hour is over", s.Version())
		}
		w.pass(2 * time.Minute)
		w.await(2, "n2", "n3")
	})
}

// Where a majority is gone nothing is forgotten but by force. Then the others are
// a cluster of their own, which those who were given up do not come back to.
func TestForgetByForce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3", "n4", "n5")
		for p := range worldPartitions {
			w.write("n1", p)
		}
		before := w.state("n1").Cluster()
		for _, name := range []string{"n3", "n4", "n5"} {
			w.kill(name)
		}
		clear(w.acked) // some of it is lost
		k := w.places["n1"].keeper
		err := w.in(func(ctx context.Context) error { return k.Forget(ctx, "n3", false) })
		if !errors.Is(err, ErrTooFew) {
			t.Fatalf("%v, want ErrTooFew", err)
		}
		if err := w.in(func(ctx context.Context) error { return k.Forget(ctx, "n3", true) }); err != nil {
			t.Fatal(err)
		}
		w.await(2, "n1", "n2")
		if now := w.state("n1").Cluster(); !strings.HasPrefix(now, before+".2-") || w.state("n2").Cluster() != now {
			t.Errorf("cluster %s after %s", now, before)
		}
		for p := range worldPartitions {
			if !w.write("n2", p) {
				t.Errorf("partition %d cannot be written", p)
			}
		}
		w.start("n4", false) // empty
		w.await(3, "n1", "n2", "n4")
		w.restart("n3")
		w.pass(20 * time.Second)
		if s := w.state("n3"); s.Cluster() != before {
			t.Errorf("n3 is in cluster %s", s.Cluster())
		}
	})
}

// One of three is lost for good when another is as well: it takes force.
func TestTooFewReplicas(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3", "n4", "n5")
		w.kill("n4")
		w.kill("n5")
		k := w.places["n1"].keeper
		forget := func(name string) error {
			return w.in(func(ctx context.Context) error { return k.Forget(ctx, name, false) })
		}
		if err := forget("n4"); err != nil {
			t.Fatal(err)
		}
		// Some partition is held by both, under the ring of which both are.
		if err := forget("n5"); !errors.Is(err, ErrTooFew) {
			t.Errorf("%v, want ErrTooFew", err)
		}
	})
}
