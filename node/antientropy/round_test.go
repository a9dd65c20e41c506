package antientropy

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// bench is a repairer of the replica a, whose only other replica is b, in a
// synctest bubble: time passes only when everybody waits.
type bench struct {
	t    *testing.T
	a, b *fake
	*Repairer
	log  bytes.Buffer
	more []Pair

	mu      sync.Mutex // guards refused
	refused []string
}

func (w *bench) Refused(_ context.Context, keys [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		w.refused = append(w.refused, string(key))
	}
}

func (w *bench) Partitions() []int { return w.a.all() }
func (w *bench) Pairs() []Pair {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return append([]Pair{{Remote: w.b, Partitions: w.a.all()}}, w.more...)
}

// onBench runs a test with two replicas that hold the same, while the repairer
// runs.
func onBench(t *testing.T, cfg Config, test func(w *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &bench{t: t}
		w.a, w.b = many(32, 200)
		w.Repairer = NewRepairer(cfg, w, Local{Replica: w.a, Trees: w.a.trees, Store: w.a}, hclog.New(&hclog.LoggerOptions{Output: &w.log}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := w.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		synctest.Wait()
		test(w)
		cancel()
		<-done
	})
}

// pass lets time pass, and then waits until nothing is under way.
func (w *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRepairerFindsWhatDiffers(t *testing.T) {
	onBench(t, Config{}, func(w *bench) {
		began := time.Now()
		if s := w.Stats(); s.Rounds != 1 || s.Entries != 0 || !w.Last().Equal(began) {
			t.Errorf("replicas that are alike: %+v, last %s", s, w.Last())
		}
		w.a.put(entry("key00003", 2, "x"), entry("mine", 1, "x"))
		w.b.put(entry("key00004", 2, "x"), entry("theirs", 1, "x"))
		w.pass(time.Minute)
		wantAlike(t, w.a, w.b)
		if s := w.Stats(); s.Rounds != 2 || s.Entries != 4 || s.Bytes == 0 || !w.Last().Equal(began.Add(time.Minute)) {
			t.Errorf("%+v, last %s", s, w.Last())
		}
	})
}

// What is lost, altered or put back without an Apply is found by the scrub
// alone.
func TestScrubFindsWhatChangedBehindItsBack(t *testing.T) {
	changes := map[string]func(w *bench){
		"wiped": func(w *bench) { clear(w.a.held) },
		"altered": func(w *bench) {
			for key, e := range w.a.held {
				e.Version.Time--
				w.a.held[key] = e
			}
		},
		"added": func(w *bench) { w.a.held["late"] = entry("late", 9, "x") },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			onBench(t, Config{Scrub: 4}, func(w *bench) {
				w.a.change(func() { change(w) })
				w.pass(4 * time.Minute)
				wantAlike(t, w.a, w.b)
				if len(w.a.held) < 200 {
					t.Errorf("%d entries after a scrub, want 200", len(w.a.held))
				}
			})
		})
	}
}

func TestScrubDoesAShareInEachRound(t *testing.T) {
	onBench(t, Config{Scrub: 4}, func(w *bench) {
		w.pass(3 * time.Minute) // the first round did a share too
		w.a.change(func() { clear(w.a.held) })
		w.pass(time.Minute)
		if n := len(w.a.held); n == 0 || n > 100 {
			t.Errorf("%d entries of 200 after one round of four", n)
		}
	})
}

func TestUnknownPartitionsAreSummedUpFirst(t *testing.T) {
	onBench(t, Config{Scrub: 1 << 20}, func(w *bench) {
		for p := range 32 {
			w.a.trees.Forget(p)
		}
		w.a.change(w.a.forget)
		w.pass(time.Minute)
		if d := w.a.trees.Digest(31); !d.Known() || w.a.calls["list"] > 0 {
			t.Errorf("known: %v; %d listings of partitions that are alike", d.Known(), w.a.calls["list"])
		}
	})
}

func TestPokeIsHeededAtOnce(t *testing.T) {
	p := kv.Partition([]byte("key00003"), 32)
	onBench(t, Config{}, func(w *bench) {
		w.b.put(entry("key00003", 2, "x"))
		other := entry("other", 1, "x")
		w.b.put(other)
		w.Poke(p)
		synctest.Wait()
		if e := w.a.held["key00003"]; e.Version.Time != 2 || w.Stats().Rounds != 1 {
			t.Errorf("the poked partition is not repaired: %v, %+v", e, w.Stats())
		}
		if _, ok := w.a.held["other"]; ok && kv.Partition(other.Key, 32) != p {
			t.Error("another partition was exchanged too")
		}
		w.Poke()
		synctest.Wait()
		wantAlike(t, w.a, w.b)
		if w.Stats().Rounds != 2 {
			t.Errorf("%+v after a poke for a round", w.Stats())
		}
	})
}

// A poke in the middle of a round comes before the rest of it, and one for a
// full round is not taken for the one under way.
func TestPokeDuringARound(t *testing.T) {
	onBench(t, Config{}, func(w *bench) {
		once, c := true, newFake("c", 32)
		w.b.change(func() {
			w.more = []Pair{{Remote: c, Partitions: c.all()}}
			w.b.fault = func(call string, after bool) error {
				if call == "digests" && after && once {
					once = false
					w.Poke()
					w.Poke(3)
				}
				return nil
			}
		})
		w.pass(time.Minute)
		if s := w.Stats(); s.Rounds != 3 {
			t.Errorf("%+v, want a round at the start, one after a minute and one by the poke", s)
		}
		if len(c.asked) < 2 || c.asked[0] != 1 || !slices.Contains(c.asked, 32) {
			t.Errorf("c was asked for %d partitions, want the poked one first", c.asked)
		}
	})
}

func TestErrorsAreLoggedOnceAMinute(t *testing.T) {
	onBench(t, Config{Interval: time.Second}, func(w *bench) {
		w.pass(time.Second)
		last := w.Last()
		w.b.change(func() { w.b.fault = func(string, bool) error { return errLost } })
		w.pass(110 * time.Second)
		if n := strings.Count(w.log.String(), "not repaired"); n != 2 || !strings.Contains(w.log.String(), "more_since") {
			t.Errorf("%d lines in 110 s:\n%s", n, &w.log)
		}
		if s := w.Stats(); !w.Last().Equal(last) || s.Failed != 110 {
			t.Errorf("%+v; last moved from %s to %s", s, last, w.Last())
		}
		w.b.change(func() { w.b.fault = nil })
		w.b.put(entry("new", 1, "x"))
		w.pass(time.Second)
		wantAlike(t, w.a, w.b)
		if !w.Last().After(last) {
			t.Error("the first round without errors does not count")
		}
	})
}

// Writes that never end keep a partition from being summed up, and that is no
// error.
func TestBusyPartitionIsNoError(t *testing.T) {
	onBench(t, Config{Scrub: 1}, func(w *bench) {
		w.a.trees.Forget(5)
		w.a.trees.Begin(5)
		w.pass(2 * time.Minute)
		if s := w.Stats(); s.Busy == 0 || s.Failed != 0 || w.log.Len() > 0 || w.Last().Before(time.Now().Add(-2*time.Minute)) {
			t.Errorf("%+v, last %s, log %q", s, w.Last(), &w.log)
		}
		w.a.trees.End(5)
		w.pass(time.Minute)
		wantAlike(t, w.a, w.b)
	})
}

// A write that only one replica has when it is compared is no lasting
// difference; one that stays refused is.
func TestLastIsOfARoundThatEndsAlike(t *testing.T) {
	onBench(t, Config{}, func(w *bench) {
		first := w.Last()
		w.b.put(entry("held back", 1, "x"))
		w.a.change(func() { w.a.promised["held back"] = kv.Version{Time: 2} })
		w.pass(time.Minute)
		if s := w.Stats(); !w.Last().Equal(first) || s.Refused == 0 || s.Failed != 0 {
			t.Errorf("%+v; last moved from %s to %s", s, first, w.Last())
		}
		w.mu.Lock()
		if !slices.Equal(w.refused, []string{"held back"}) {
			t.Errorf("told of %q, which were refused to the last", w.refused)
		}
		w.mu.Unlock()
		w.a.change(func() { delete(w.a.promised, "held back") })
		w.pass(time.Minute)
		if !w.Last().Equal(first.Add(2 * time.Minute)) {
			t.Errorf("last is %s after a repair, want %s", w.Last(), first.Add(2*time.Minute))
		}
	})
}

func TestIntervalIsJittered(t *testing.T) {
	onBench(t, Config{Interval: time.Minute, Random: func() float64 { return 0.8 }}, func(w *bench) {
		w.pass(47 * time.Second)
		before := w.Stats().Rounds
		w.pass(time.Second)
		if before != 1 || w.Stats().Rounds != 2 {
			t.Errorf("%d rounds after 47 s, %d after 48 s", before, w.Stats().Rounds)
		}
	})
}

func TestStoreThatCannotBeReadIsLogged(t *testing.T) {
	onBench(t, Config{}, func(w *bench) {
		last := w.Last()
		w.a.change(func() { w.a.broken = kv.ErrUnavailable })
		w.pass(time.Minute)
		if !strings.Contains(w.log.String(), "summed up") || !w.Last().Equal(last) || w.Stats().Failed != 1 {
			t.Errorf("log %q, %+v", &w.log, w.Stats())
		}
	})
}
