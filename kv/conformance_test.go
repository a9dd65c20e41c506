package kv_test

import (
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

func TestMemoryConformance(t *testing.T) {
	t.Parallel()
	kvtest.Run(t, openMemory(kv.MemoryOptions{}))
}

// TestMemoryOneTable runs the suite where all keys share a table and its
// slabs, also with a limit.
func TestMemoryOneTable(t *testing.T) {
	t.Parallel()
	kvtest.Config{
		Partitions: 1,
		OpenFull:   openMemory(kv.MemoryOptions{Partitions: 1, MaxBytes: 1 << 20}),
	}.Run(t, openMemory(kv.MemoryOptions{Partitions: 1}))
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
