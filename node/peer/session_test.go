package peer

import (
	"reflect"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tc := range []struct {
		name        string
		calls, want []wireCall
	}{
		{"neighbours, under the latest deadline",
			[]wireCall{{s, 1, 0, 1}, {3 * s, 1, 1, 2}, {2 * s, 1, 2, 3}},
			[]wireCall{{3 * s, 1, 0, 3}}},
		{"rings are kept apart",
			[]wireCall{{s, 1, 0, 1}, {s, 2, 1, 2}, {s, 1, 2, 3}},
			[]wireCall{{s, 1, 0, 1}, {s, 2, 1, 2}, {s, 1, 2, 3}}},
		{"what comes too late is kept apart",
			[]wireCall{{s, 1, 0, 1}, {0, 1, 1, 2}, {0, 1, 2, 3}, {s, 1, 3, 4}},
			[]wireCall{{s, 1, 0, 1}, {0, 1, 1, 3}, {s, 1, 3, 4}}},
		{"up to the limit",
			[]wireCall{{s, 1, 0, 2}, {s, 1, 2, 4}, {s, 1, 4, 5}},
			[]wireCall{{s, 1, 0, 4}, {s, 1, 4, 5}}},
		{"a large call in pieces",
			[]wireCall{{s, 1, 0, 1}, {s, 1, 1, 10}, {s, 1, 10, 11}},
			[]wireCall{{s, 1, 0, 1}, {s, 1, 1, 5}, {s, 1, 5, 9}, {s, 1, 9, 11}}},
	} {
		var got []wireCall
		for calls := tc.calls; len(calls) > 0; {
			var c wireCall
			c, calls = merge(calls, 4)
			got = append(got, c)
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
