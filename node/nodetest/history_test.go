package nodetest

import (
	"strings"
	"testing"
	"time"
)

// did is one line of a history: who did what, from when to when.
type did struct {
	began, ended int64 // ended 0: nobody knows
	in           input
	out          output
}

func value(v string) register { return register{exists: true, value: v} }

func set(began, ended int64, v string) did {
	return did{began, ended, input{key: "k", do: setting, new: value(v)}, output{unknown: ended == 0}}
}

func saw(began, ended int64, held register) did {
	return did{began, ended, input{key: "k", do: reading}, output{held: held}}
}

// create is a swap of nothing.
func create(began, ended int64, next string, created bool) did {
	in := input{key: "k", do: swapping, new: value(next)}
	return did{began, ended, in, output{swapped: created, unknown: ended == 0}}
}

func swap(began, ended int64, old, next string, swapped bool) did {
	in := input{key: "k", do: swapping, old: value(old), new: value(next)}
	return did{began, ended, in, output{swapped: swapped, unknown: ended == 0}}
}

func TestHistoriesAreJudged(t *testing.T) {
	t.Parallel()
	nothing := register{}
	for name, test := range map[string]struct {
		ops  []did
		good bool
	}{
		"nothing yet":                         {[]did{saw(1, 2, nothing), set(3, 4, "a"), saw(5, 6, value("a"))}, true},
		"an acknowledged write is not read":   {[]did{set(1, 2, "a"), saw(3, 4, nothing)}, false},
		"a stale read":                        {[]did{set(1, 2, "a"), set(3, 4, "b"), saw(5, 6, value("a"))}, false},
		"either value while a write goes on":  {[]did{set(1, 2, "a"), set(3, 8, "b"), saw(4, 5, value("a")), saw(6, 7, value("b"))}, true},
		"back and forth":                      {[]did{set(1, 2, "a"), set(3, 8, "b"), saw(4, 5, value("b")), saw(6, 7, value("a"))}, false},
		"an unknown write is seen later":      {[]did{set(1, 0, "a"), set(2, 3, "b"), saw(4, 5, value("b")), saw(6, 7, value("a"))}, true},
		"an unknown write is never seen":      {[]did{set(1, 0, "a"), set(2, 3, "b"), saw(4, 5, value("b"))}, true},
		"an unknown write is seen twice":      {[]did{set(1, 0, "a"), saw(2, 3, value("a")), set(4, 5, "b"), saw(6, 7, value("a"))}, false},
		"a value that nobody wrote":           {[]did{saw(1, 2, value("x"))}, false},
		"a swap":                              {[]did{set(1, 2, "a"), swap(3, 4, "a", "b", true), saw(5, 6, value("b"))}, true},
		"a swap that was not due":             {[]did{set(1, 2, "a"), swap(3, 4, "x", "b", true)}, false},
		"a swap whose version is another":     {[]did{set(1, 2, "a"), swap(3, 4, "a", "b", false), saw(5, 6, value("a"))}, true},
		"a refused swap is seen":              {[]did{set(1, 2, "a"), swap(3, 4, "a", "b", false), saw(5, 6, value("b"))}, false},
		"a key is made":                       {[]did{create(1, 2, "a", true), create(3, 4, "b", false), saw(5, 6, value("a"))}, true},
		"a key is made twice":                 {[]did{create(1, 4, "a", true), create(2, 3, "b", true)}, false},
		"what was due to be made is refused":  {[]did{create(1, 2, "a", false), saw(3, 4, nothing)}, false},
		"two swaps of one value":              {[]did{set(1, 2, "a"), swap(3, 6, "a", "b", true), swap(4, 5, "a", "c", true)}, false},
		"one of two swaps":                    {[]did{set(1, 2, "a"), swap(3, 6, "a", "b", true), swap(4, 5, "a", "c", false)}, true},
		"an unknown swap is seen":             {[]did{set(1, 2, "a"), swap(3, 0, "a", "b", false), saw(4, 5, value("b"))}, true},
		"an unknown write explains a refusal": {[]did{set(3, 0, "b"), create(4, 5, "c", false), set(6, 7, "d")}, true},
		"a later one does not":                {[]did{create(3, 4, "c", false), set(5, 0, "b"), set(6, 7, "d")}, false},
		"an unknown swap is overtaken":        {[]did{set(1, 2, "a"), swap(3, 0, "a", "b", false), set(4, 5, "c"), saw(6, 7, value("c"))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &History{}
			for client, op := range test.ops {
				h.now.Store(op.ended - 1)
				h.end(client, op.in, op.began, op.out)
			}
			err := h.Check(time.Minute)
			if (err == nil) != test.good {
				t.Errorf("judged: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "client 0") {
				t.Errorf("it does not show the history: %v", err)
			}
		})
	}
}
