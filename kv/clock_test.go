package kv

import (
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stamp returns the reading of a clock at this Unix millisecond, with a counter.
func stamp(ms int64, counter int) uint64 { return uint64(ms)<<counterBits + uint64(counter) }

// TestClockNeverGoesBack: whatever the wall clock does and others say, readings
// are above all earlier ones and not below the wall clock.
func TestClockNeverGoesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wall := int64(1_700_000_000_000)
		c := NewClock(func() time.Time { return time.UnixMilli(wall) })
		var highest uint64
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if c.Last() != highest || c.Now() != wall {
					t.Fatalf("Last() = %x, want %x; Now() = %d, want %d", c.Last(), highest, c.Now(), wall)
				}
			},
			"wall": func(t *rapid.T) {
				wall += rapid.Int64Range(-5000, 5000).Draw(t, "by")
			},
			"observe": func(t *rapid.T) {
				other := stamp(wall+rapid.Int64Range(-5000, 5000).Draw(t, "ahead"), rapid.IntRange(0, 1<<16-1).Draw(t, "counter"))
				c.Observe(other)
				highest = max(highest, other)
			},
			"next": func(t *rapid.T) {
				n := rapid.IntRange(1, 100_000).Draw(t, "n")
				first := c.Next(n)
				if first <= highest || first < stamp(wall, 0) {
					t.Fatalf("Next(%d) = %x after %x at %x", n, first, highest, stamp(wall, 0))
				}
				highest = first + uint64(n) - 1
			},
		})
	})
}

// TestClockIsShared: no reading is given twice, and each goroutine sees them
// rise.
func TestClockIsShared(t *testing.T) {
	t.Parallel()
	const goroutines, calls = 4, 20_000
	c := NewClock(func() time.Time { return time.UnixMilli(1000) })
	var group sync.WaitGroup
	given := make([][]uint64, goroutines)
	for g := range goroutines {
		group.Go(func() {
			for range calls {
				first := c.Next(2)
				given[g] = append(given[g], first, first+1)
				c.Observe(first)
			}
		})
	}
	group.Wait()
	for _, readings := range given {
		if !slices.IsSorted(readings) {
			t.Error("the readings of a goroutine do not rise")
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(given...)))
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d readings were given twice", len(all)-n)
	}
}

// TestClockCarries: a counter that overflows goes on into the milliseconds.
func TestClockCarries(t *testing.T) {
	t.Parallel()
	c := NewClock(func() time.Time { return time.UnixMilli(1000) })
	c.Next(1 << counterBits)
	if got, want := c.Next(1), stamp(1001, 0); got != want {
		t.Errorf("Next = %x, want %x", got, want)
	}
}

// TestClockBefore1970: a machine that has lost its time gives low readings, not
// the highest there are.
func TestClockBefore1970(t *testing.T) {
	t.Parallel()
	c := NewClock(func() time.Time { return time.UnixMilli(-5) })
	if got := c.Next(1); got != 1 {
		t.Errorf("Next = %x, want 1", got)
	}
}
