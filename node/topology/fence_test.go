package topology

import (
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

// fenced returns the state of a node with storage identity 1 that knows versions
// lo to hi.
func fenced(t *testing.T, lo, hi, read, seal, done uint64) *State {
	t.Helper()
	l := (&ledger{Storage: 1, Read: read, Seal: seal}).clone()
	l.raise(Numbers{Done: done})
	var rings []*ring.Ring
	for v := lo; v <= hi; v++ {
		l.Records = append(l.Records, record(v, "c", "a"))
		r, err := ring.New(l.Records[len(l.Records)-1])
		if err != nil {
			t.Fatal(err)
		}
		rings = append(rings, r)
	}
	return newState("a", l, rings, true, func() {})
}

func TestRefusesWrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                 string
		lo, hi, seal, sender uint64
		want                 bool
	}{
		{"both know the same", 3, 3, 0, 3, false},
		{"the sender knows more", 3, 3, 3, 4, false},
		{"all that the sender knows is over", 3, 4, 0, 2, true},
		{"the sender knows the oldest", 3, 5, 0, 3, false},
		{"compared for what the sender knows", 3, 5, 4, 4, false},
		{"compared for what the sender does not know", 3, 5, 5, 4, true},
		{"a sender without a ring", 1, 1, 0, 0, true},
	} {
		if got := fenced(t, tt.lo, tt.hi, tt.lo, tt.seal, tt.lo).RefusesWrite(tt.sender); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestRefusesRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                              string
		lo, hi, seal, done, sender, reads uint64
		want                              bool
	}{
		{"both know the same", 3, 3, 0, 3, 3, 3, false},
		{"the sender reads what is older, and live", 3, 5, 0, 3, 5, 3, false},
		{"the sender reads what is newer", 3, 5, 0, 3, 5, 5, false},
		{"the sender reads what is over", 3, 5, 0, 3, 5, 2, true},
		{"the same at one who takes no part", 3, 5, 0, 0, 5, 2, true},
		{"this node is done with a newer one", 3, 5, 0, 4, 5, 3, true},
		{"this node is done with the same", 3, 5, 0, 4, 5, 4, false},
		{"compared for what the sender knows", 3, 5, 5, 3, 5, 3, false},
		{"compared for what the sender does not know", 3, 5, 5, 3, 4, 3, true},
		{"done counts against what is read, not what is known", 3, 5, 0, 5, 5, 4, true},
	} {
		if got := fenced(t, tt.lo, tt.hi, tt.lo, tt.seal, tt.done).RefusesRead(tt.sender, tt.reads); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
