package node

import (
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// BenchmarkDo is an operation on a key of this node and of another one, with
// so many under way for each processor.
func BenchmarkDo(b *testing.B) {
	c := newCluster(b, 2)
	n := c.node("n1")
	for _, verb := range []kv.Verb{kv.Get, kv.Put} {
		for _, owner := range []string{"n1", "n2"} {
			for _, callers := range []int{1, 50} {
				b.Run(fmt.Sprintf("%s/owner=%s/callers=%d", verb, owner, callers), func(b *testing.B) {
					op := kv.Op{Verb: verb, Key: []byte(c.keyOf(owner, "k", 0)), Value: make([]byte, 36)}
					c.put(n, string(op.Key), string(op.Value))
					b.SetParallelism(callers)
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						dst := make([]byte, 0, 64)
						mine := op
						for pb.Next() {
							if r := n.Do(b.Context(), &mine, dst); r.Err != nil {
								b.Error(r.Err)
								return
							}
						}
					})
				})
			}
		}
	}
}
