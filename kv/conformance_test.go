package kv_test

import (
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

func TestMemoryConformance(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, openMemory(kv.MemoryOptions{}))
}

// TestMemoryPartitions runs the suite with one table, and with some more tables
// than there are shards.
func TestMemoryPartitions(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 300} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			t.Parallel()
			kvtest.Config{
				Partitions: partitions,
				OpenFull:   openMemory(kv.MemoryOptions{Partitions: partitions, MaxBytes: 2 << 20}),
			}.Run(t, openMemory(kv.MemoryOptions{Partitions: partitions}))
		})
	}
}

func openMemory(opts kv.MemoryOptions) kvtest.Open {
	return func(t *testing.T) kv.Store {
		t.Helper()
		m, err := kv.NewMemory(opts)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}
