package quorum

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

func TestNeed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked, n, want int
		ok             bool
	}{
		{0, 1, 1, true}, {0, 2, 2, true}, {0, 3, 2, true}, {0, 4, 3, true}, {0, 5, 3, true},
		{kv.All, 3, 3, true}, {1, 3, 1, true}, {3, 3, 3, true}, {4, 3, 4, false}, {-7, 3, -7, false},
	} {
		if got, ok := Need(c.asked, c.n); got != c.want || ok != c.ok {
			t.Errorf("Need(%d, %d) = %d, %t, want %d, %t", c.asked, c.n, got, ok, c.want, c.ok)
		}
	}
}

// anyGroups draws the replicas of up to three ring versions.
func anyGroups(t *rapid.T) Groups {
	groups := make(Groups, rapid.IntRange(1, 3).Draw(t, "versions"))
	for i := range groups {
		of := Mask(rapid.Uint64Range(1, 1<<6-1).Draw(t, "replicas"))
		groups[i] = Group{Of: of, Need: Majority(of.Count())}
	}
	return groups
}

// Whatever was enough for a write has, under each version, a replica in common
// with whatever is enough for a read.
func TestReachedIntersects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := anyGroups(t)
		wrote := Mask(rapid.Uint64Range(0, 1<<6-1).Draw(t, "wrote"))
		if !groups.Reached(wrote) {
			return
		}
		for _, g := range groups {
			read := Mask(rapid.Uint64Range(0, 1<<6-1).Draw(t, "read"))
			if (Groups{g}).Reached(read) && wrote&read&g.Of == 0 {
				t.Fatalf("write at %b and read at %b of %b have nothing in common", wrote, read, g.Of)
			}
		}
	})
}

// Lost says that no further answers help, and nothing else does.
func TestLostIsFinal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := anyGroups(t)
		no := Mask(rapid.Uint64Range(0, 1<<6-1).Draw(t, "no"))
		if all := ^no; groups.Lost(no) == groups.Reached(all) {
			t.Fatalf("%v: lost %t when %b said no, though all others reach %t",
				groups, groups.Lost(no), no, groups.Reached(all))
		}
	})
}

func TestNewest(t *testing.T) {
	t.Parallel()
	held := func(replica int, time uint64, deleted bool) Answer {
		e := kv.Entry{Deleted: deleted}
		if time > 0 {
			e.Version = kv.Version{Time: time, Node: 1}
		}
		return Answer{Replica: replica, Entry: e}
	}
	for name, c := range map[string]struct {
		answers []Answer
		at      int
		holders Mask
	}{
		"nobody":            {[]Answer{held(0, 0, false), held(2, 0, false)}, -1, 0b101},
		"all the same":      {[]Answer{held(0, 5, false), held(1, 5, false)}, 0, 0b11},
		"one lacks it":      {[]Answer{held(0, 0, false), held(1, 5, false)}, 1, 0b10},
		"one is older":      {[]Answer{held(0, 7, false), held(1, 5, false), held(2, 7, false)}, 0, 0b101},
		"expired meanwhile": {[]Answer{held(0, 7, false), held(1, 7, true)}, 1, 0b11},
		"deleted":           {[]Answer{held(0, 7, false), held(1, 8, true)}, 1, 0b10},
	} {
		if at, holders := Newest(c.answers); at != c.at || holders != c.holders {
			t.Errorf("%s: %d held by %b, want %d held by %b", name, at, holders, c.at, c.holders)
		}
	}
}
