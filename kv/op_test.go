package kv

import "testing"

// TestVerbs: their numbers and names stand in the peer protocol and in the
// batches of clients.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for number, want := range []struct {
		name            string
		write, internal bool
	}{
		{"invalid verb", false, false},
		{"get", false, false},
		{"put", true, false},
		{"delete", true, false},
		{"apply", false, true},
		{"promise", false, true},
		{"withdraw", false, true},
		{"drop", false, true},
		{"invalid verb", false, false},
	} {
		if v := Verb(number); v.String() != want.name || v.IsWrite() != want.write || v.Internal() != want.internal {
			t.Errorf("verb %d is %q, a write: %v, internal: %v, want %+v", number, v, v.IsWrite(), v.Internal(), want)
		}
	}
}

// TestConditionHolds judges the conditions of RFC 9110, sections 13.1.1 and
// 13.1.2, on an entry, on one that is not live, and on none.
func TestConditionHolds(t *testing.T) {
	t.Parallel()
	one, two := Version{Time: 1, Node: 1}, Version{Time: 2, Node: 1}
	live := Entry{Version: one}
	absent := []Entry{{}, {Version: one, Deleted: true}, {Version: one, Expires: 100}}
	for name, c := range map[string]struct {
		cond             Condition
		onLive, onAbsent bool
	}{
		"none":                {Condition{}, true, true},
		"match any":           {Condition{Matches: true, MatchAny: true}, true, false},
		"match any alone":     {Condition{MatchAny: true}, true, false},
		"match":               {Condition{Matches: true, Match: []Version{two, one}}, true, false},
		"match another":       {Condition{Matches: true, Match: []Version{two}}, false, false},
		"match nothing":       {Condition{Matches: true}, false, false},
		"none match any":      {Condition{NoneMatchAny: true}, false, true},
		"none match":          {Condition{NoneMatch: []Version{two, one}}, false, true},
		"none match another":  {Condition{NoneMatch: []Version{two}}, true, true},
		"match, none match":   {Condition{Matches: true, Match: []Version{one}, NoneMatch: []Version{one}}, false, false},
		"match any, not this": {Condition{MatchAny: true, NoneMatch: []Version{one}}, false, false},
		"match any, not that": {Condition{MatchAny: true, NoneMatch: []Version{two}}, true, false},
	} {
		if got := c.cond.Holds(&live, 100); got != c.onLive {
			t.Errorf("%s: holds of a live entry: %v, want %v", name, got, c.onLive)
		}
		for _, e := range absent {
			if got := c.cond.Holds(&e, 100); got != c.onAbsent {
				t.Errorf("%s: holds of %+v: %v, want %v", name, e, got, c.onAbsent)
			}
		}
	}
}
