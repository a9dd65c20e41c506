package topology

import (
	"errors"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

func made(t *testing.T, records ...ring.Record) []*ring.Ring {
	t.Helper()
	rings, err := build(records, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rings
}

func TestNext(t *testing.T) {
	t.Parallel()
	base := record(1, "c", "a", "b", "c", "d")
	two := record(2, "c", "a", "b", "c", "d")
	remove(&two, 4, false)
	lost := record(2, "c", "a", "b", "c", "d")
	remove(&lost, 4, true)
	join := func(name string, storage uint64) ring.Member {
		return ring.Member{Name: name, Storage: storage, Weight: 1}
	}
	for _, tt := range []struct {
		name    string
		live    []ring.Record
		change  change
		members []uint64
		removed []ring.Removed
		err     error
	}{
		{"join", []ring.Record{base}, change{join: []ring.Member{join("e", 5), join("0", 6)}}, []uint64{6, 1, 2, 3, 4, 5}, nil, nil},
		{"replace", []ring.Record{base}, change{join: []ring.Member{join("b", 7)}}, []uint64{1, 7, 3, 4},
			[]ring.Removed{{Storage: 2, Forgotten: true}}, nil},
		{"leave", []ring.Record{base}, change{leave: []uint64{4}}, []uint64{1, 2, 3}, []ring.Removed{{Storage: 4}}, nil},
		{"forget", []ring.Record{base}, change{forget: []uint64{1}}, []uint64{2, 3, 4}, []ring.Removed{{Storage: 1, Forgotten: true}}, nil},
		{"forget one that leaves", []ring.Record{base, two}, change{forget: []uint64{4}}, []uint64{1, 2, 3},
			[]ring.Removed{{Storage: 4, Forgotten: true}}, nil},
		{"two of three replicas", []ring.Record{base}, change{forget: []uint64{1, 2}}, nil, nil, ErrTooFew},
		{"a second one of three replicas", []ring.Record{base, lost}, change{forget: []uint64{3}}, nil, nil, ErrTooFew},
		{"replace a second one", []ring.Record{base, lost}, change{join: []ring.Member{join("b", 7)}}, nil, nil, ErrTooFew},
		{"a second one once that is settled", []ring.Record{lost}, change{forget: []uint64{3}}, []uint64{1, 2},
			[]ring.Removed{{Storage: 4, Forgotten: true}, {Storage: 3, Forgotten: true}}, nil},
		{"all", []ring.Record{base}, change{leave: []uint64{1, 2, 3, 4}}, nil, nil, ErrLastMember},
	} {
		got, err := next(made(t, tt.live...), tt.change)
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		var members []uint64
		for _, m := range got.Members {
			members = append(members, m.Storage)
		}
		last := tt.live[len(tt.live)-1]
		if !slices.Equal(members, tt.members) || !slices.Equal(got.Removed, tt.removed) || got.Version != last.Version+1 {
			t.Errorf("%s: version %d of %v without %v", tt.name, got.Version, members, got.Removed)
		}
		if len(last.Members) != len(made(t, last)[0].Members()) {
			t.Errorf("%s: the record before has changed", tt.name)
		}
	}
}

func TestForced(t *testing.T) {
	t.Parallel()
	base, two := record(1, "c", "a", "b", "c", "d"), record(2, "c", "a", "b", "c", "d")
	remove(&two, 4, false)
	got, err := forced(made(t, base, two), func(m ring.Member) bool { return m.Name == "b" })
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Members) != 1 || got.Members[0].Storage != 2 || got.Version != 3 || !follows("c", got.Cluster) {
		t.Errorf("%+v", got)
	}
	for _, storage := range []uint64{1, 3, 4} {
		if !gone(&got)(storage) {
			t.Errorf("storage %d is not given up", storage)
		}
	}
	if _, err := forced(made(t, base), func(ring.Member) bool { return false }); !errors.Is(err, ErrLastMember) {
		t.Errorf("%v, want ErrLastMember", err)
	}
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	second := nextGeneration("abc")
	third := nextGeneration(second)
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"abc", "abc", true}, {"abc", "abd", false}, {"abc", second, true}, {"abc", third, true},
		{second, third, true}, {second, "abc", false}, {third, second, false},
		{second, nextGeneration("abc"), false}, {"abd", second, false}, {"abc", "abc.x", false},
	} {
		if got := follows(tt.a, tt.b); got != tt.want {
			t.Errorf("follows(%s, %s) = %v", tt.a, tt.b, got)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e"}
	one, two, three := record(1, "c", names[:3]...), record(2, "c", names[:4]...), record(3, "c", names...)
	rings := made(t, one, two, three)
	up := func(m ring.Member) bool { return m.Name != "a" }
	for self := uint64(1); self <= 5; self++ {
		at, tasks := rings[2].IndexOf(self), 0
		for _, task := range plan(self, rings, func(uint64) bool { return false }, up) {
			tasks++
			if !rings[2].Holds(task.Partition, at) {
				t.Errorf("%d compares partition %d, which it does not hold", self, task.Partition)
			}
			if len(task.Groups) != 2 {
				t.Fatalf("%d: groups %+v, want one for each older version", self, task.Groups)
			}
			for i, g := range task.Groups {
				held := 0
				if rings[i].Holds(task.Partition, rings[i].IndexOf(self)) {
					held = 1
				}
				if g.Version != uint64(i+1) || g.Need != 2-held || len(g.Members) != 3-held {
					t.Errorf("%d: group %+v, a replica: %d", self, g, held)
				}
				for j, m := range g.Members {
					if m.Storage == self || m.Name == "a" && j != len(g.Members)-1 {
						t.Errorf("%d: members %v: it is among them, or who is down comes first", self, g.Members)
					}
				}
			}
		}
		if tasks != rings[2].Held(at) {
			t.Errorf("%d has %d tasks, and holds %d partitions", self, tasks, rings[2].Held(at))
		}
	}
	if tasks := plan(9, rings, func(uint64) bool { return false }, up); tasks != nil {
		t.Errorf("who is no member has tasks %v", tasks)
	}
	if tasks := plan(1, made(t, record(1, "c", "a", "b"), record(2, "c", "a", "b", "c")), func(uint64) bool { return false }, up); tasks != nil {
		t.Errorf("one of two has every write that both acknowledged, and yet tasks %v", tasks)
	}
	for _, task := range plan(5, rings, func(s uint64) bool { return s == 1 }, up) {
		for _, g := range task.Groups {
			if slices.ContainsFunc(g.Members, func(m ring.Member) bool { return m.Storage == 1 }) {
				t.Fatal("who is forgotten is a source")
			}
		}
	}
}

func TestMoved(t *testing.T) {
	t.Parallel()
	one, two := record(1, "c", "a", "b"), record(2, "c", "a", "b", "c", "d", "e")
	one.Replicas, two.Replicas = 1, 1
	rings := made(t, one, two)
	gained, lost := moved(1, rings, rings[1:])
	if len(gained) > 0 || len(lost) == 0 || rings[0].Held(0)-len(lost) != rings[1].Held(0) {
		t.Errorf("gained %v, lost %v", gained, lost)
	}
	if gained, lost := moved(3, rings[:1], rings); len(gained) != rings[1].Held(2) || len(lost) > 0 {
		t.Errorf("the joiner gained %v, lost %v", gained, lost)
	}
	if gained, _ := moved(3, nil, rings); len(gained) != rings[1].Held(2) {
		t.Errorf("who knew nothing gained %v", gained)
	}
}
