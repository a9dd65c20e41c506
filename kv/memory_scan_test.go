package kv

import (
	"context"
	"errors"
	"testing"
)

// TestScanEnds: what ends a scan before its time is returned.
func TestScanEnds(t *testing.T) {
	t.Parallel()
	m := newMemory(t, MemoryOptions{Partitions: 2})
	for i := range 1000 {
		put(t, m, Entry{Key: nthKey(i), Version: Version{Time: 1}})
	}
	for _, partition := range []int{-1, 2} {
		if err := m.Scan(t.Context(), partition, nil, func(*Entry) bool { return true }); err == nil {
			t.Errorf("a scan of partition %d does not fail", partition)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	visited := 0
	scan := func(then func()) error {
		visited = 0
		return m.Scan(ctx, 1, nil, func(*Entry) bool {
			if visited++; visited == 1 {
				then()
			}
			return true
		})
	}
	if err := scan(cancel); !errors.Is(err, context.Canceled) || visited > scanEntries {
		t.Errorf("a canceled scan visited %d entries and returned %v", visited, err)
	}
	ctx = t.Context()
	if err := scan(func() { m.Close() }); !errors.Is(err, ErrClosed) || visited > scanEntries {
		t.Errorf("a scan of a store that was closed visited %d entries and returned %v", visited, err)
	}
}
