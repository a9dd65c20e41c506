package nodetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// scenario runs a cluster of three in a bubble.
func scenario(t *testing.T, opts Options, run func(t *testing.T, c *Cluster)) {
	t.Helper()
	opts.Nodes = three
	Bubble(t, func(t *testing.T) {
		c := New(t, opts)
		run(t, c)
	})
}

// verify is what holds once faults are over.
func verify(t *testing.T, c *Cluster) {
	t.Helper()
	must(t, c.CheckSet())
	must(t, c.CheckGone())
	c.Converge()
}

// stopLoad ends a load, which must have got something done, and seen nothing
// wrong.
func stopLoad(t *testing.T, l *Load) {
	t.Helper()
	report := l.Stop()
	if len(report.Wrong) > 0 || report.Put == 0 || report.Read == 0 {
		t.Errorf("%+v", report)
	}
}

// moving waits until a change of the ring is under way.
func moving(t *testing.T, c *Cluster) {
	t.Helper()
	c.Await("a change of the ring", func() error {
		for _, name := range c.Live() {
			if c.Node(name).Upkeep().Changing {
				return nil
			}
		}
		return errors.New("none is under way")
	})
}

// A node dies half-way through a change of the ring, and comes back: the one that
// joins, one that gives, the one that has proposed it.
func TestDeathHalfWay(t *testing.T) {
	t.Parallel()
	for who, victim := range map[string]string{"joiner": "n4", "giver": "n2", "coordinator": "n1"} {
		for turn := range 2 {
			t.Run(fmt.Sprintf("%s%d", who, turn), func(t *testing.T) {
				t.Parallel()
				scenario(t, Options{}, func(t *testing.T, c *Cluster) {
					load := c.Load(LoadOptions{Every: 60 * time.Millisecond})
					c.Pass(2 * time.Second)
					c.Start("n4")
					moving(t, c)
					c.Pass(time.Duration(turn) * 80 * time.Millisecond)
					c.Kill(victim)
					c.Pass(6 * time.Second)
					must(t, c.CheckSet())
					c.Restart(victim)
					c.AwaitSettled()
					stopLoad(t, load)
					verify(t, c)
				})
			})
		}
	}
}

// A node dies half-way for good: the change goes on once it is forgotten.
func TestDeathForGood(t *testing.T) {
	t.Parallel()
	for who, victim := range map[string]string{"joiner": "n4", "giver": "n2"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			scenario(t, Options{}, func(t *testing.T, c *Cluster) {
				load := c.Load(LoadOptions{Every: 60 * time.Millisecond})
				c.Pass(time.Second)
				c.Start("n4")
				moving(t, c)
				c.Kill(victim)
				c.Pass(6 * time.Second)
				must(t, c.CheckSet())
				must(t, c.Forget(t.Context(), "n1", victim, false))
				c.AwaitSettled()
				stopLoad(t, load)
				verify(t, c)
			})
		})
	}
}

// Any faults, one after the other, under load.
func TestAnyFaults(t *testing.T) {
	t.Parallel()
	for round := range rounds(t, 2) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			scenario(t, Options{RepairEvery: 5 * time.Second}, func(t *testing.T, c *Cluster) {
				dice := rand.New(rand.NewPCG(c.Seed(), 8))
				load := c.Load(LoadOptions{Every: 60 * time.Millisecond})
				for _, name := range anyFaults(dice, 4) {
					c.Pass(within(dice, 2*time.Second))
					t.Logf("seed %d: %s", c.Seed(), name)
					faults[name](c, dice)
					c.AwaitSettled()
				}
				stopLoad(t, load)
				verify(t, c)
			})
		})
	}
}

// A node dies while another leaves.
func TestDeathWhileLeaving(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"n1", "n3"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			scenario(t, Options{}, func(t *testing.T, c *Cluster) {
				c.Join("n4")
				load := c.Load(LoadOptions{Every: 60 * time.Millisecond})
				c.Pass(2 * time.Second)
				c.setMember("n2", false)
				must(t, c.Node("n2").Leave(t.Context()))
				moving(t, c)
				c.Kill(victim)
				c.Pass(6 * time.Second)
				c.Restart(victim)
				<-c.Node("n2").Left()
				c.Stop("n2")
				c.AwaitSettled()
				stopLoad(t, load)
				verify(t, c)
			})
		})
	}
}

// A replica's data is lost or altered behind the node's back, and nobody reads:
// comparing the replicas makes them the same again.
func TestAntiEntropyAlone(t *testing.T) {
	t.Parallel()
	for what, harm := range map[string]func(c *Cluster, name string) int{"lose": (*Cluster).Lose, "alter": (*Cluster).Alter} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			scenario(t, Options{RepairEvery: time.Second}, func(t *testing.T, c *Cluster) {
				load := c.Load(LoadOptions{})
				c.Pass(2 * time.Second)
				stopLoad(t, load)
				c.Converge()
				for _, name := range three {
					if n := harm(c, name); n < 100 {
						t.Errorf("%s held %d entries", name, n)
					}
					if c.CheckSame() == nil {
						t.Error("nothing was harmed")
					}
					c.Converge()
				}
				must(t, c.CheckSet())
				must(t, c.CheckGone())
			})
		})
	}
}

// Keys that are about to expire while a replica is repaired and others take
// partitions over do so at their time, and never come back.
func TestExpiryDuringRepairAndHandOver(t *testing.T) {
	t.Parallel()
	scenario(t, Options{RepairEvery: 500 * time.Millisecond}, func(t *testing.T, c *Cluster) {
		const keys = 60
		begun := time.Now().Truncate(time.Millisecond) // as expiry is kept
		due := func(i int) time.Time { return begun.Add(time.Duration(2+i/4) * time.Second) }
		key := func(i int) []byte { return fmt.Appendf(nil, "brief%d", i) }
		for i := range keys {
			op := kv.Op{Verb: kv.Put, Key: key(i), Value: []byte("v"), Expires: due(i).UnixMilli()}
			must(t, c.Do(t.Context(), three[i%3], &op).Err)
		}
		watch := func() {
			t.Helper()
			for _, name := range c.Live() {
				for i := range keys {
					before := time.Now()
					r := c.Do(t.Context(), name, &kv.Op{Verb: kv.Get, Key: key(i)})
					switch expired := !before.Before(due(i)); {
					case r.Err == nil && expired:
						t.Errorf("%s at %v: %q should have expired at %v", name, before, key(i), due(i))
					case r.Err == nil && r.Entry.Expires != due(i).UnixMilli():
						t.Errorf("%q expires at %d, not %d", key(i), r.Entry.Expires, due(i).UnixMilli())
					case errors.Is(r.Err, kv.ErrNotFound) && time.Now().Before(due(i)):
						t.Errorf("%s at %v: %q is gone before its time, %v", name, time.Now(), key(i), due(i))
					}
				}
			}
		}
		watch()
		c.Kill("n3")
		c.Pass(3 * time.Second)
		c.Lose("n3")
		c.Restart("n3")
		c.AwaitSettled()
		watch()
		c.Start("n4")
		for range 10 {
			c.Pass(300 * time.Millisecond)
			watch()
		}
		c.AwaitSettled()
		watch()
		c.Kill("n1")
		c.Pass(time.Until(due(keys)) + time.Second)
		c.Restart("n1")
		c.AwaitSettled()
		watch()
		c.Pass(5 * time.Second)
		watch()
		c.Converge()
		for _, name := range c.Live() {
			if listed, err := c.List(name); err != nil || len(listed) != 0 {
				t.Errorf("%s lists %v, %v", name, listed, err)
			}
		}
	})
}

// Deleted keys stay so, though a replica that holds them comes back after a
// long time.
func TestDeletedStaysSo(t *testing.T) {
	t.Parallel()
	scenario(t, Options{}, func(t *testing.T, c *Cluster) {
		load := c.Load(LoadOptions{Deletes: -1})
		c.Pass(3 * time.Second)
		stopLoad(t, load)
		c.Converge()
		c.Kill("n3")
		c.Pass(5 * time.Second)
		for i, key := range c.Ledger().Keys(Present) {
			_, value := c.Ledger().Fate(key)
			must(t, c.Delete(three[i%2], key, ""))
			c.Ledger().note(key, value, Absent)
		}
		for _, name := range []string{"n1", "n2"} { // nobody has a hint any more
			c.Kill(name)
			c.Restart(name)
		}
		c.AwaitSettled()
		c.Pass(10 * time.Minute)
		c.Restart("n3")
		c.AwaitSettled()
		must(t, c.CheckGone())
		c.Kill("n1")
		c.Pass(5 * time.Second)
		must(t, c.CheckGone())
		c.Restart("n1")
		c.AwaitSettled()
		c.Converge()
		must(t, c.CheckGone())
	})
}

// Versions of a key never go back, whatever clocks do; and once they are right
// again, writes succeed.
func TestVersionsNeverGoBack(t *testing.T) {
	t.Parallel()
	scenario(t, Options{}, func(t *testing.T, c *Cluster) {
		dice := rand.New(rand.NewPCG(c.Seed(), 9))
		var last kv.Version
		put := func() error {
			op := kv.Op{Verb: kv.Put, Key: []byte("k"), Value: []byte("v")}
			r := c.Do(t.Context(), three[dice.IntN(3)], &op)
			if r.Err == nil && r.Entry.Version.Compare(last) <= 0 {
				t.Errorf("version %v after %v", r.Entry.Version, last)
			}
			if r.Err == nil {
				last = r.Entry.Version
			}
			return r.Err
		}
		for range 30 {
			name := three[dice.IntN(3)]
			c.Stop(name)
			c.Clock(name).Jump(time.Duration(dice.IntN(600)-300) * time.Second)
			c.Restart(name)
			c.AwaitSettled()
			for range 5 {
				_ = put() // a clock that is ahead is refused
			}
		}
		for _, name := range three {
			c.Clock(name).Set(0)
		}
		c.Await("a write", put)
	})
}
