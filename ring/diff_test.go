package ring_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/ring"
)

// Each partition's replicas before, less what was lost, plus what was gained,
// must be its replicas after.
func TestDiffLeadsFromOneToTheOther(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 10))
	rec := named(random, 6, 3)
	before, after := rec, rec
	before.Members = slices.Clone(rec.Members[:5]) // 5 joins
	after.Members = slices.Clone(rec.Members[1:])  // 0 leaves
	slices.Reverse(after.Members)                  // members are told by name
	from, to := build(t, before), build(t, after)
	moves := make(map[int]ring.Move)
	last := -1
	for _, move := range ring.Diff(from, to) {
		if move.Partition <= last {
			t.Fatalf("partition %d comes after %d", move.Partition, last)
		}
		last = move.Partition
		moves[last] = move
	}
	for p := range from.Partitions() {
		move, moved := moves[p]
		got := slices.DeleteFunc(names(from, p), func(name string) bool { return slices.Contains(move.Lost, name) })
		got = append(got, move.Gained...)
		want := names(to, p)
		if moved && len(move.Lost)+len(move.Gained) == 0 {
			t.Errorf("partition %d: an empty move", p)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("partition %d: the diff leads to %v, want %v", p, got, want)
		}
	}
}

// Where everybody holds everything, an owner may change and nothing moves.
func TestDiffIgnoresTheOrderOfReplicas(t *testing.T) {
	t.Parallel()
	rec := named(rand.New(rand.NewPCG(2, 10)), 3, 3)
	heavy := rec
	heavy.Members = slices.Clone(rec.Members)
	heavy.Members[0].Weight = 3
	from, to := build(t, rec), build(t, heavy)
	if from.Owned(0) == to.Owned(0) {
		t.Fatal("no owner changed")
	}
	if moves := ring.Diff(from, to); len(moves) > 0 {
		t.Errorf("%d moves, first %+v", len(moves), moves[0])
	}
}

func TestDiffOfDifferentPartitions(t *testing.T) {
	t.Parallel()
	rec := named(rand.New(rand.NewPCG(3, 10)), 3, 1)
	from := build(t, rec)
	rec.Partitions /= 2
	to := build(t, rec)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	ring.Diff(from, to)
}
