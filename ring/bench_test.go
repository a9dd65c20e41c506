package ring_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// BenchmarkOwner is what routing costs a request: goal 20 ns, no allocation.
func BenchmarkOwner(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 20))
	r := build(b, named(random, 100, 3))
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%016x-%016x---", random.Uint64(), random.Uint64())
	}
	b.ReportAllocs()
	i, sum := 0, 0
	for b.Loop() {
		sum += r.Owner(keys[i%len(keys)])
		i++
	}
	_ = sum
}

// BenchmarkNew builds a ring of 100 members: goal 50 ms.
func BenchmarkNew(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			rec := named(rand.New(rand.NewPCG(2, 20)), 100, replicas)
			for b.Loop() {
				build(b, rec)
			}
		})
	}
}

// BenchmarkJoin reports what a join of a hundred and first member moves, as a
// multiple of its ideal share.
func BenchmarkJoin(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			random := rand.New(rand.NewPCG(3, 20))
			moved := 0
			for b.Loop() {
				after := named(random, 101, replicas)
				before := after
				before.Members = after.Members[:100]
				moved += gained(build(b, before), build(b, after))
			}
			ideal := float64(replicas*kv.DefaultPartitions) / 101
			b.ReportMetric(float64(moved)/float64(b.N)/ideal, "ideal/join")
		})
	}
}
