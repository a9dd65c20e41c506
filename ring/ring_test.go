package ring_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/ring"
)

// named returns a record of n members with random names.
func named(random *rand.Rand, n, replicas int) ring.Record {
	rec := ring.Record{Version: 1, Cluster: "c", Partitions: kv.DefaultPartitions, Replicas: replicas}
	for range n {
		rec.Members = append(rec.Members, ring.Member{Name: fmt.Sprintf("node-%x", random.Uint64()), Weight: 1})
	}
	return rec
}

func build(t testing.TB, rec ring.Record) *ring.Ring {
	t.Helper()
	r, err := ring.New(rec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// names returns the replicas of a partition by name.
func names(r *ring.Ring, partition int) []string {
	var out []string
	for _, m := range r.Replicas(partition) {
		out = append(out, r.Members()[m].Name)
	}
	return out
}

// gained counts the replicas under one ring that are none under an earlier one.
func gained(from, to *ring.Ring) int {
	n := 0
	for p := range to.Partitions() {
		for _, m := range to.Replicas(p) {
			if !from.Holds(p, from.Index(to.Members()[m].Name)) {
				n++
			}
		}
	}
	return n
}

// held counts how many partitions each member holds, as owner or not.
func held(r *ring.Ring) []int {
	out := make([]int, len(r.Members()))
	for p := range r.Partitions() {
		for _, m := range r.Replicas(p) {
			out[m]++
		}
	}
	return out
}

func TestBalance(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	check := func(members, sets int, most float64) {
		for range sets {
			r := build(t, named(random, members, 1))
			mean := float64(r.Partitions()) / float64(members)
			var owned []int
			for m := range members {
				owned = append(owned, r.Owned(m))
			}
			if !slices.Equal(owned, held(r)) {
				t.Errorf("%d members: Owned says %v, the table %v", members, owned, held(r))
			}
			if got := float64(slices.Max(owned)) / mean; got > most {
				t.Errorf("%d members: max/mean %.3f, want at most %.2f", members, got, most)
			}
		}
	}
	for members := 3; members <= 10; members++ {
		check(members, 3, 1.10)
	}
	check(100, 1, 1.15)
}

// A join has to move the joiner's share, 1, and should move little more.
func TestJoinMovesLittle(t *testing.T) {
	t.Parallel()
	const most = 1.2
	for _, c := range []struct{ members, replicas, sets int }{
		{1, 1, 5}, {3, 1, 5}, {5, 1, 5}, {9, 1, 5}, {30, 1, 5}, {5, 3, 5}, {100, 3, 2},
	} {
		t.Run(fmt.Sprintf("members=%d/replicas=%d", c.members, c.replicas), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(2, uint64(c.members)))
			moved := 0
			for range c.sets {
				after := named(random, c.members+1, c.replicas)
				before := after
				before.Members = after.Members[:c.members]
				moved += gained(build(t, before), build(t, after))
			}
			ideal := float64(c.sets*c.replicas*kv.DefaultPartitions) / float64(c.members+1)
			if got := float64(moved) / ideal; got > most {
				t.Errorf("a join moves %.3f of the ideal share, want at most %.1f", got, most)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	for _, unit := range []int{1, 100, math.MaxInt / 8} {
		rec := ring.Record{Partitions: 4096, Replicas: 1}
		for i, weight := range []int{1, 2, 5} {
			rec.Members = append(rec.Members, ring.Member{Name: fmt.Sprint("n", i), Weight: weight * unit})
		}
		r := build(t, rec)
		for i, weight := range []int{1, 2, 5} {
			share := float64(weight) * 4096 / 8
			if got := float64(r.Owned(i)) / share; got < 0.8 || got > 1.1 {
				t.Errorf("unit %d, weight %d: owns %.2f of its share", unit, weight, got)
			}
		}
	}
}

func TestReplicasAreDistinctAndSpreadOverZones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zones    string // a member each
		replicas int
	}{
		{"aaaa", 3}, {"aabbcc", 3}, {"aaaaaabc", 3}, {"aaab", 3}, {"aabb", 4}, {"abcde", 2}, {"aaaabbc", 5},
	} {
		rec := ring.Record{Partitions: 1024, Replicas: c.replicas}
		size := make(map[string]int)
		for i, zone := range c.zones {
			rec.Members = append(rec.Members, ring.Member{Name: fmt.Sprint("n", i), Weight: 1, Zone: string(zone)})
			size[string(zone)]++
		}
		r := build(t, rec)
		for p := range r.Partitions() {
			seen, count := make(map[int]bool), make(map[string]int)
			for _, m := range r.Replicas(p) {
				seen[m] = true
				count[r.Members()[m].Zone]++
			}
			if len(seen) != c.replicas {
				t.Fatalf("%+v: partition %d is held by %v", c, p, names(r, p))
			}
			// No zone may hold two more than one that has a member to spare.
			for rich := range count {
				for poor := range size {
					if count[rich] > count[poor]+1 && count[poor] < size[poor] {
						t.Fatalf("%+v: partition %d is held %d times in zone %s, %d times in %s",
							c, p, count[rich], rich, count[poor], poor)
					}
				}
			}
		}
	}
}

// Replicas are balanced within each zone, however unequal the zones are.
func TestReplicaBalance(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 3))
	rec := named(random, 9, 3)
	for i, zone := range "aaaaabbcc" {
		rec.Members[i].Zone = string(zone)
	}
	counts := held(build(t, rec))
	for _, zone := range [][]int{counts[:5], counts[5:7], counts[7:]} {
		mean := float64(kv.DefaultPartitions) / float64(len(zone))
		if got := float64(slices.Max(zone)) / mean; got > 1.10 {
			t.Errorf("members of one zone hold %v: max/mean %.3f", zone, got)
		}
	}
}

func TestNoMoreReplicasThanMembers(t *testing.T) {
	t.Parallel()
	for members := 1; members <= 2; members++ {
		rec := named(rand.New(rand.NewPCG(4, 4)), members, 3)
		r := build(t, rec)
		for p := range r.Partitions() {
			if got := len(r.Replicas(p)); got != members {
				t.Fatalf("%d members: partition %d has %d replicas", members, p, got)
			}
		}
		if got := r.Record().Replicas; got != 3 {
			t.Errorf("the record asks for %d replicas, want the 3 given", got)
		}
	}
}

func TestSharesNoMemory(t *testing.T) {
	t.Parallel()
	rec := named(rand.New(rand.NewPCG(5, 5)), 3, 2)
	rec.Removed = []ring.Removed{{Storage: 9}}
	want := slices.Clone(rec.Members)
	r := build(t, rec)
	rec.Members[0].Name = "given"
	rec.Removed[0].Forgotten = true
	r.Record().Members[1].Name = "returned"
	r.Record().Removed[0].Forgotten = true
	if !slices.Equal(r.Members(), want) || r.Record().Removed[0].Forgotten {
		t.Errorf("members %v, want %v", r.Members(), want)
	}
}

func TestOrderOfMembersHasNoMeaning(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(6, 6))
	rec := named(random, 12, 3)
	for i := range rec.Members {
		rec.Members[i].Weight = 1 + i%3
		rec.Members[i].Zone = string(rune('a' + i%4))
	}
	want := build(t, rec)
	for range 3 {
		random.Shuffle(len(rec.Members), func(i, j int) {
			rec.Members[i], rec.Members[j] = rec.Members[j], rec.Members[i]
		})
		got := build(t, rec)
		for p := range want.Partitions() {
			if !slices.Equal(names(got, p), names(want, p)) {
				t.Fatalf("partition %d: %v and %v", p, names(got, p), names(want, p))
			}
		}
	}
}

// Nodes of different builds and machines must have the same table. A change
// that fails here makes every cluster move its data, and needs a new version
// of the record.
func TestTableStaysWhatItWas(t *testing.T) {
	t.Parallel()
	rec := ring.Record{Partitions: 4096, Replicas: 3}
	for i := range 7 {
		rec.Members = append(rec.Members, ring.Member{
			Name: fmt.Sprintf("thunder%d", i), Weight: 1 + i%2, Zone: string(rune('a' + i%3)),
		})
	}
	r := build(t, rec)
	sum := fnv.New64a()
	for p := range r.Partitions() {
		for _, m := range r.Replicas(p) {
			_ = binary.Write(sum, binary.BigEndian, uint32(m)) // a hash never fails
		}
	}
	const want = 0x1a44c8bcddf365f3
	if got := sum.Sum64(); got != want {
		t.Errorf("table %#x, want %#x", got, uint64(want))
	}
}

func TestOwnerOfAKey(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	rec := named(random, 5, 3)
	rec.Partitions = 1000
	r := build(t, rec)
	for range 1000 {
		key := binary.BigEndian.AppendUint64(nil, random.Uint64())
		want := int(xxhash.Sum64(key) % 1000)
		if got := r.Partition(key); got != want {
			t.Fatalf("key %x is in partition %d, want %d", key, got, want)
		}
		if got, want := r.Owner(key), r.Replicas(want)[0]; got != want {
			t.Fatalf("key %x is owned by %d, want %d", key, got, want)
		}
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	r := build(t, named(rand.New(rand.NewPCG(10, 10)), 5, 2))
	counts := held(r)
	for m := range r.Members() {
		if r.Held(m) != counts[m] {
			t.Errorf("Held(%d) = %d, the table says %d", m, r.Held(m), counts[m])
		}
		for p := range r.Partitions() {
			replicas := r.Replicas(p)
			if want := replicas[0] == m || replicas[1] == m; r.Holds(p, m) != want {
				t.Fatalf("Holds(%d, %d) = %v of %v", p, m, !want, replicas)
			}
		}
	}
	if r.Holds(0, -1) {
		t.Error("nobody holds a partition")
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	rec := named(rand.New(rand.NewPCG(8, 8)), 4, 1)
	for i := range rec.Members[1:] {
		rec.Members[i].Storage = uint64(10 + i)
	}
	r := build(t, rec)
	for i := range rec.Members[1:] {
		if got := r.IndexOf(uint64(10 + i)); got != i {
			t.Errorf("IndexOf(%d) = %d, want %d", 10+i, got, i)
		}
	}
	for _, nobody := range []uint64{0, 99} {
		if got := r.IndexOf(nobody); got != -1 {
			t.Errorf("IndexOf(%d) = %d, want -1", nobody, got)
		}
	}
	for i, m := range r.Members() {
		if got := r.Index(m.Name); got != i {
			t.Errorf("Index(%q) = %d, want %d", m.Name, got, i)
		}
	}
	if got := r.Index("nobody"); got != -1 {
		t.Errorf("Index of nobody = %d, want -1", got)
	}
}

func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*ring.Record){
		"no partitions":       func(r *ring.Record) { r.Partitions = 0 },
		"too many partitions": func(r *ring.Record) { r.Partitions = ring.MaxPartitions + 1 },
		"no replicas":         func(r *ring.Record) { r.Replicas = 0 },
		"no members":          func(r *ring.Record) { r.Members = nil },
		"no name":             func(r *ring.Record) { r.Members[1].Name = "" },
		"same name":           func(r *ring.Record) { r.Members[1].Name = r.Members[0].Name },
		"name not UTF-8":      func(r *ring.Record) { r.Members[1].Name = "\xff" },
		"same storage":        func(r *ring.Record) { r.Members[0].Storage, r.Members[1].Storage = 7, 7 },
		"member removed": func(r *ring.Record) {
			r.Members[1].Storage, r.Removed = 7, []ring.Removed{{Storage: 7}}
		},
		"removed twice":  func(r *ring.Record) { r.Removed = []ring.Removed{{Storage: 7}, {Storage: 7, Forgotten: true}} },
		"removed nobody": func(r *ring.Record) { r.Removed = []ring.Removed{{}} },
		"no weight":      func(r *ring.Record) { r.Members[1].Weight = 0 },
	} {
		rec := named(rand.New(rand.NewPCG(9, 9)), 2, 1)
		spoil(&rec)
		if _, err := ring.New(rec); !errors.Is(err, ring.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}
