package kv

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stamp returns the reading of a clock at this Unix millisecond, with a counter.
func stamp(ms int64, counter int) uint64 { return uint64(ms)<<counterBits + uint64(counter) }

func next(t interface{ Fatal(...any) }, c *Clock, n int) uint64 {
	first, err := c.Next(n)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

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
				other := stamp(wall+rapid.Int64Range(-5000, 7000).Draw(t, "ahead"), rapid.IntRange(0, 1<<16-1).Draw(t, "counter"))
				c.Observe(other)
				if other <= stamp(wall+maxDrift.Milliseconds(), 0) { // else it is wrong, and ignored
					highest = max(highest, other)
				}
			},
			"next": func(t *rapid.T) {
				n := rapid.IntRange(1, 100_000).Draw(t, "n")
				first := next(t, c, n)
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
				first, err := c.Next(2)
				if err != nil {
					t.Error(err)
				}
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
	next(t, c, 1<<counterBits)
	if got, want := next(t, c, 1), stamp(1001, 0); got != want {
		t.Errorf("Next = %x, want %x", got, want)
	}
}

// TestClockBefore1970: a machine that has lost its time gives low readings, not
// the highest there are.
func TestClockBefore1970(t *testing.T) {
	t.Parallel()
	c := NewClock(func() time.Time { return time.UnixMilli(-5) })
	if got := next(t, c, 1); got != 1 {
		t.Errorf("Next = %x, want 1", got)
	}
}

// TestClockCeiling: no reading passes the ceiling, and a later clock that begins
// there is above all that were given, though the wall clock was put back.
func TestClockCeiling(t *testing.T) {
	t.Parallel()
	wall := int64(1_700_000_000_000)
	follow := func() time.Time { return time.UnixMilli(wall) }
	c := NewClock(follow)
	c.Limit(wall + 10)
	last := next(t, c, 100)
	wall += 10
	if got, err := c.Next(1); !errors.Is(err, ErrClockCeiling) {
		t.Errorf("Next at the ceiling = %x, %v, want ErrClockCeiling", got, err)
	}
	c.Limit(wall + 10)
	last = max(last, next(t, c, 1))

	wall -= 300_000
	again := NewClock(follow)
	again.Begin(wall + 300_010)
	if got := next(t, again, 1); got <= last {
		t.Errorf("after a restart Next = %x, not above %x", got, last)
	}
}

// TestClockAhead: only what is too far ahead counts as wrong.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	c := NewClock(func() time.Time { return time.UnixMilli(1_000_000) })
	for wall, want := range map[int64]time.Duration{
		1_000_000: 0, 1_000_500: 0, 1_000_501: 501 * time.Millisecond, 1_300_000: 5 * time.Minute, 700_000: 0,
	} {
		if got := c.Ahead(wall); got != want {
			t.Errorf("Ahead(%d) = %v, want %v", wall, got, want)
		}
	}
}
