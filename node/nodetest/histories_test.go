package nodetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// roundsVariable is the environment variable that says how many seeds the
// histories are tried with, for runs that take their time.
const roundsVariable = "NODETEST_ROUNDS"

// rounds is how many seeds a test tries.
func rounds(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv(roundsVariable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: %v", roundsVariable, text, err)
	}
	return n
}

// faults are what happens to a cluster while a history is made: each is one
// fault, from its beginning to its end.
var faults = map[string]func(c *Cluster, dice *rand.Rand){
	"kill": func(c *Cluster, dice *rand.Rand) {
		name := three[dice.IntN(3)]
		c.Kill(name)
		c.Pass(within(dice, 6*time.Second))
		c.Restart(name)
	},
	"kill all": func(c *Cluster, dice *rand.Rand) {
		for _, name := range c.Live() {
			c.Kill(name)
		}
		for _, name := range c.Members() {
			c.Restart(name)
			c.Pass(within(dice, 200*time.Millisecond))
		}
	},
	"partition": func(c *Cluster, dice *rand.Rand) {
		at := dice.IntN(3)
		kind := []Cut{Stall, Break}[dice.IntN(2)]
		c.Network().Partition(kind, three[at:at+1], slices.Delete(slices.Clone(three), at, at+1))
		c.Pass(within(dice, 6*time.Second))
		c.Heal()
	},
	"one way": func(c *Cluster, dice *rand.Rand) {
		at := dice.IntN(3)
		c.Network().Cut(three[at], three[(at+1+dice.IntN(2))%3], Stall)
		c.Pass(within(dice, 6*time.Second))
		c.Heal()
	},
	// Two nodes do not hear each other, and the third hears both: a key has two
	// coordinators then.
	"estranged": func(c *Cluster, dice *rand.Rand) {
		at := dice.IntN(3)
		kind := []Cut{Stall, Break}[dice.IntN(2)]
		c.Network().Partition(kind, three[at:at+1], []string{three[(at+1)%3]})
		c.Pass(2*time.Second + within(dice, 2*time.Second))
		c.Heal()
	},
	"pause": func(c *Cluster, dice *rand.Rand) {
		name := three[dice.IntN(3)]
		c.Pause(name)
		c.Pass(within(dice, 15*time.Second))
		c.Resume(name)
	},
	"join and leave": func(c *Cluster, dice *rand.Rand) {
		name := fmt.Sprintf("m%d", dice.Uint32()) // who has left does not come back as the same
		c.Join(name)
		c.Pass(within(dice, time.Second))
		if err := c.Leave(c.t.Context(), name); err != nil {
			c.t.Errorf("leave: %v", err)
		}
	},
	"wipe": func(c *Cluster, dice *rand.Rand) {
		c.Wipe(three[dice.IntN(3)])
	},
	"slow": func(c *Cluster, dice *rand.Rand) {
		c.Network().TransitAll(Transit{Delay: 5 * time.Millisecond, Jitter: 60 * time.Millisecond, Loss: 0.02})
		c.Pass(within(dice, 3*time.Second))
		c.Network().TransitAll(*c.opts.Transit)
	},
}

// within returns a time up to d.
func within(dice *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(d)))
}

// Single keys are linearizable at the default consistency, whatever of it
// happens.
func TestHistories(t *testing.T) {
	t.Parallel()
	for name := range faults {
		for round := range rounds(t, 1) {
			t.Run(fmt.Sprintf("%s%d", name, round), func(t *testing.T) {
				t.Parallel()
				history(t, name, name)
			})
		}
	}
	for round := range rounds(t, 2) {
		t.Run(fmt.Sprintf("any%d", round), func(t *testing.T) {
			t.Parallel()
			history(t)
		})
	}
}

// history makes a history under two faults of those names, or any three, and
// checks it.
func history(t *testing.T, which ...string) {
	t.Helper()
	var h *History
	var seed uint64
	opts := Options{Timeout: 2 * time.Second, RepairEvery: 5 * time.Second, Grace: 300 * time.Millisecond}
	scenario(t, opts, func(t *testing.T, c *Cluster) {
		seed = c.Seed()
		dice := rand.New(rand.NewPCG(seed, 7))
		if len(which) == 0 {
			which = anyFaults(dice, 3)
		}
		t.Logf("seed %d: %v", seed, which)
		opts := HistoryOptions{PerKey: 40, Every: 30 * time.Millisecond}
		if slices.Contains(which, "estranged") {
			opts.Keys, opts.Every = 2, 8*time.Millisecond // for two writers to meet at one key
		}
		r := c.Record(opts)
		for _, name := range which {
			c.Pass(within(dice, time.Second))
			faults[name](c, dice)
			c.AwaitSettled()
		}
		c.Pass(time.Second)
		h = r.Stop()
		c.Converge()
	})
	if h.Len() < 100 {
		t.Errorf("seed %d: a history of %d operations", seed, h.Len())
	}
	if err := h.Check(20 * time.Second); err != nil {
		t.Errorf("seed %d, %v: %v", seed, which, err)
	}
}

// anyFaults picks n faults.
func anyFaults(dice *rand.Rand, n int) []string {
	names := slices.Sorted(maps.Keys(faults))
	dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:n]
}
