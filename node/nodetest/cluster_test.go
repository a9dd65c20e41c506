package nodetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
)

var three = []string{"n1", "n2", "n3"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	RunScripts(t, "testdata/*.txt")
}

// A cluster works in real time as it does in a bubble.
func TestRealTime(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Nodes: three})
	must(t, c.Put("n1", "k", "v", ""))
	c.Kill("n2")
	c.Restart("n2")
	c.AwaitSettled()
	if got, err := c.Get("n2", "k", ""); got != "v" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Faults come and go under load, and nothing that was acknowledged is lost.
func TestLoadUnderFaults(t *testing.T) {
	t.Parallel()
	for range 2 {
		Bubble(t, func(t *testing.T) {
			c := New(t, Options{Nodes: three})
			load := c.Load(LoadOptions{Every: 50 * time.Millisecond})
			c.Pass(time.Second)
			c.Kill("n2")
			c.Pass(5 * time.Second)
			c.Restart("n2")
			c.Pass(5 * time.Second)
			c.Partition([]string{"n1"}, []string{"n2", "n3"})
			c.Pass(5 * time.Second)
			c.Heal()
			c.Pause("n3")
			c.Pass(5 * time.Second)
			c.Resume("n3")
			c.AwaitSettled()
			c.Pass(time.Second)
			report := load.Stop()
			t.Logf("%+v", report)
			if report.Put == 0 || report.Deleted == 0 || report.Read == 0 || report.Failed == 0 || len(report.Wrong) > 0 {
				t.Errorf("seed %d: %+v", c.Seed(), report)
			}
			if out := report.Outage["n2"]; out < 5*time.Second || out > 10*time.Second {
				t.Errorf("seed %d: n2 was away for %v", c.Seed(), out)
			}
			must(t, c.CheckSet())
			must(t, c.CheckGone())
			must(t, c.CheckSame())
		})
	}
}

// A client that finds nobody tries another node, where it is to.
func TestRetriesGoElsewhere(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: []string{"n1"}})
		c.Partition([]string{"n1"}, []string{"gone"}) // it must not come to own anything
		c.Start("gone")
		c.Kill("gone")
		for _, retries := range []int{0, 1} {
			load := c.Load(LoadOptions{Nodes: []string{"n1", "gone"}, Retries: retries})
			c.Pass(time.Second)
			report := load.Stop()
			if (report.Failed > 0) != (retries == 0) || report.Put == 0 || report.Outage["gone"] < time.Second/2 {
				t.Errorf("seed %d, %d retries: %+v", c.Seed(), retries, report)
			}
		}
	})
}

// The checks find what they are for.
func TestChecksFindLosses(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: three, Patience: 10 * time.Second})
		for i := range 20 {
			key := fmt.Sprint("k", i)
			must(t, c.Put("n1", key, "v", ""))
			c.Ledger().note(key, "v", Present)
		}
		must(t, c.CheckSet())
		must(t, c.Delete("n1", "k7", ""))
		if err := c.CheckSet(); err == nil || !strings.Contains(err.Error(), `"k7"`) {
			t.Errorf("a lost key: %v", err)
		}
		c.Ledger().note("k7", "v", Absent)
		must(t, c.CheckSet())
		must(t, c.CheckGone())
		must(t, c.Put("n2", "k7", "v", ""))
		if err := c.CheckGone(); err == nil || !strings.Contains(err.Error(), `"k7"`) {
			t.Errorf("a key that came back: %v", err)
		}
		must(t, c.Put("n2", "k8", "w", ""))
		if err := c.CheckSet(); err == nil || !strings.Contains(err.Error(), `"k8"`) {
			t.Errorf("a wrong value: %v", err)
		}
		c.Pause("n3")
		if err := c.CheckSet(); err == nil {
			t.Error("a node that does not answer was overlooked")
		}
	})
}

func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		held map[string]contents
		same bool
	}{
		"nothing":        {map[string]contents{"n1": {}, "n2": {}}, true},
		"the same":       {map[string]contents{"n1": {"k": "v"}, "n2": {"k": "v"}}, true},
		"one lacks it":   {map[string]contents{"n1": {"k": "v"}, "n2": {}}, false},
		"another value":  {map[string]contents{"n1": {"k": "v"}, "n2": {"k": "w"}}, false},
		"the third only": {map[string]contents{"n1": {}, "n2": {}, "n3": {"k": "v"}}, false},
	} {
		if err := differ(test.held); (err == nil) != test.same {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What runs on of a node that was killed can do nothing.
func TestKilledIsKilled(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: three})
		old := c.Node("n2")
		must(t, c.Put("n2", "k", "v", ""))
		c.Kill("n2")
		if err := c.Put("n2", "k", "w", ""); !errors.Is(err, ErrGone) {
			t.Errorf("a client of the dead: %v", err)
		}
		c.Restart("n2")
		c.AwaitSettled()
		for i := range 50 {
			op := kv.Op{Verb: kv.Put, Key: fmt.Append(nil, "ghost", i)}
			if r := old.Do(t.Context(), &op, nil); r.Err == nil {
				t.Errorf("the dead wrote %q", op.Key)
			}
		}
		if listed, err := c.List("n1"); err != nil || len(listed) != 1 {
			t.Errorf("listed %v, %v", listed, err)
		}
		stored := 0
		for _, name := range three {
			stored += int(c.Store(name).Stats(0).Entries)
		}
		if stored != len(three) {
			t.Errorf("%d entries are stored, want one at each replica", stored)
		}
	})
}

func TestClientOfThePausedHearsNothing(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: []string{"n1"}, Timeout: 2 * time.Second})
		c.Pause("n1")
		begun := time.Now()
		if err := c.Put("n1", "k", "v", ""); ErrorText(err) != "timeout" || time.Since(begun) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		time.AfterFunc(time.Second, func() { c.Resume("n1") })
		must(t, c.Put("n1", "k", "v", ""))
		c.Pause("n1")
		time.AfterFunc(time.Second, func() { c.Kill("n1") })
		if err := c.Put("n1", "k", "v", ""); !errors.Is(err, errCrashed) {
			t.Errorf("killed while paused: %v", err)
		}
	})
}

// Gossip finds out what is out of reach in the time that the test has set, and
// that it is back at once; and who says goodbye is gone at once.
func TestGossip(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		const detect = 4 * time.Second
		c := New(t, Options{Nodes: three, Detect: detect})
		status := func(of, by string) membership.Status {
			found, _ := c.life(by).pool.View().Find(of)
			return found.Status
		}
		want := func(when string, of, by string, want membership.Status) {
			t.Helper()
			if got := status(of, by); got != want {
				t.Errorf("%s: %s is %s to %s, want %s", when, of, got, by, want)
			}
		}
		want("at first", "n3", "n1", membership.Alive)
		c.Network().Cut("n1", "n3", Stall)
		c.Pass(2 * detect)
		want("n2 hears both", "n3", "n1", membership.Alive)
		c.Network().Cut("n3", "n2", Stall)
		c.Pass(detect - 2*gossipTick)
		want("not yet", "n3", "n1", membership.Suspect)
		c.Pass(4 * gossipTick)
		for _, by := range []string{"n1", "n2"} {
			want("cut off", "n3", by, membership.Down)
			want("cut off", by, "n3", membership.Down)
		}
		c.Heal()
		c.Pass(2 * gossipTick)
		want("healed", "n3", "n1", membership.Alive)
		c.Stop("n2")
		want("after its goodbye", "n2", "n1", membership.Down)
		c.Kill("n3")
		c.Pass(detect / 4)
		want("killed", "n3", "n1", membership.Alive)
		c.Restart("n3")
		c.Restart("n2")
		c.AwaitSettled()
		want("back", "n3", "n1", membership.Alive)
	})
}

func TestClockJumps(t *testing.T) {
	t.Parallel()
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: []string{"n1"}})
		op := kv.Op{Verb: kv.Put, Key: []byte("k"), Expires: time.Now().Add(time.Minute).UnixMilli()}
		must(t, c.Do(t.Context(), "n1", &op).Err)
		_, err := c.Get("n1", "k", "")
		must(t, err)
		c.Clock("n1").Jump(2 * time.Minute)
		if _, err := c.Get("n1", "k", ""); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("two minutes later: %v", err)
		}
	})
}

// Histories are linearizable whatever happens to the network.
func TestHistoryUnderFaults(t *testing.T) {
	t.Parallel()
	var h *History
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: three})
		r := c.Record(HistoryOptions{PerKey: 30})
		for range 3 {
			c.Pass(time.Second)
			c.Partition([]string{"n1"}, []string{"n2", "n3"})
			c.Pass(time.Second)
			c.Heal()
		}
		c.Kill("n3")
		c.Pass(time.Second)
		c.Restart("n3")
		c.Pass(time.Second)
		h = r.Stop()
	})
	if h.Len() < 200 {
		t.Errorf("a history of %d operations", h.Len())
	}
	must(t, h.Check(time.Minute))
}

// The history shows what is wrong with a cluster, too: the only replicas that
// there are lose what they hold.
func TestHistoryFindsALoss(t *testing.T) {
	t.Parallel()
	var h *History
	Bubble(t, func(t *testing.T) {
		c := New(t, Options{Nodes: three, Replicas: 1})
		r := c.Record(HistoryOptions{Keys: 8})
		for _, name := range three {
			c.Pass(time.Second)
			if c.Lose(name) == 0 {
				t.Errorf("%s had nothing to lose", name)
			}
		}
		c.Pass(time.Second)
		h = r.Stop()
	})
	if err := h.Check(time.Minute); err == nil {
		t.Errorf("nothing was found in %d operations", h.Len())
	}
}
