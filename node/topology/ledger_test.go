package topology

import (
	"errors"
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

func knows(storage uint64, records ...ring.Record) *ledger {
	l := (&ledger{Storage: storage}).clone()
	l.Records, l.Read = records, records[0].Version
	return l
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	one, two := record(1, "c", "a"), record(2, "c", "a", "b")
	other := record(2, "c", "a", "x")
	fewer := record(3, "c", "a")
	fewer.Partitions--
	nobody := record(3, "c", "a")
	nobody.Members[0].Storage = 0
	for name, in := range map[string]Knowledge{
		"another cluster":       {Records: []ring.Record{record(3, "d", "a")}},
		"a rival of a record":   {Records: []ring.Record{one, other}},
		"a gap":                 {Records: []ring.Record{two, record(4, "c", "a")}},
		"fewer partitions":      {Records: []ring.Record{two, fewer}},
		"an unknown store":      {Records: []ring.Record{two, nobody}},
		"an older generation":   {Records: []ring.Record{record(1, "c.2-ab", "a"), record(2, "c", "a")}},
		"what this node forgot": {Numbers: map[uint64]Numbers{1: {Ack: 2}}},
	} {
		if err := knows(1, one, two).merge(&in); err == nil {
			t.Errorf("%s: no error", name)
		} else if errors.Is(err, ErrSetBack) != (name == "what this node forgot") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	one, two, three := record(1, "c", "a"), record(2, "c", "a", "b"), record(3, "c", "a", "b", "d")
	for _, tt := range []struct {
		name         string
		mine, theirs []ring.Record
		lo, hi       uint64
	}{
		{"newer", []ring.Record{one}, []ring.Record{one, two}, 1, 2},
		{"older", []ring.Record{two, three}, []ring.Record{one}, 2, 3},
		{"dropped by them", []ring.Record{one, two}, []ring.Record{two, three}, 2, 3},
		{"dropped here", []ring.Record{two}, []ring.Record{one, two, three}, 2, 3},
		{"long away", []ring.Record{one}, []ring.Record{three}, 3, 3},
	} {
		l := knows(9, tt.mine...)
		l.Vote = acceptor{Version: tt.mine[len(tt.mine)-1].Version + 1}
		if err := l.merge(&Knowledge{Records: tt.theirs, Numbers: map[uint64]Numbers{1: {Ack: 1}, 8: {Ack: 1}}}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if l.lo() != tt.lo || l.hi() != tt.hi || l.Read < tt.lo || l.Numbers[1].Ack != 1 || len(l.Numbers) != 1 {
			t.Errorf("%s: %d..%d, reads %d, %v", tt.name, l.lo(), l.hi(), l.Read, l.Numbers)
		}
		if voting := l.Vote.Version == l.hi()+1; voting != (l.hi() == tt.mine[len(tt.mine)-1].Version) {
			t.Errorf("%s: votes on %d", tt.name, l.Vote.Version)
		}
	}
}

// An acceptor that knows a version, or is no member of the one before, does not
// vote on it.
func TestWhoVotes(t *testing.T) {
	t.Parallel()
	b := Ballot{Round: 1, Storage: 1}
	for _, tt := range []struct {
		storage, version uint64
		want             bool
	}{{1, 3, true}, {2, 3, true}, {3, 3, false}, {1, 2, false}, {1, 1, false}, {1, 4, false}} {
		l := knows(tt.storage, record(1, "c", "a", "b", "d"), record(2, "c", "a", "b"))
		if got := l.prepare(tt.version, b); got.OK != tt.want {
			t.Errorf("%d promises for %d: %v", tt.storage, tt.version, got.OK)
		}
		if got := l.accept(tt.version, b, nil); got.OK != tt.want {
			t.Errorf("%d accepts %d: %v", tt.storage, tt.version, got.OK)
		}
	}
}
