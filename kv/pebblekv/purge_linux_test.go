package pebblekv

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// untilPurged purges refs, again where the store was just using up the reserve of so
// small a disk for upkeep.
func untilPurged(t *testing.T, s *Store, refs []kv.Ref) {
	t.Helper()
	await(t, upkeepPatience, "a purge in a full store", func() error {
		purged := make([]bool, len(refs))
		err := s.Purge(context.Background(), refs, purged)
		if err == nil && slices.Contains(purged, false) {
			t.Fatalf("a purge in a full store: %v", purged)
		}
		var left []kv.Ref
		for i := range refs {
			if !purged[i] {
				left = append(left, refs[i])
			}
		}
		refs = left
		return err
	})
}

// TestPurgeOnFullDisk purges half of what fills a disk: that is not refused,
// and there is room for values again.
func TestPurgeOnFullDisk(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	cfg := small(filepath.Join(mountSmall(t, size), "store"), vfs.Default)
	cfg.partitions, cfg.memTable = 5, maxMemTable
	s := mustOpen(t, cfg)
	defer s.Close() // before the file system goes
	m := newModel()
	n := untilFull(t, s, m, 20_000, size/10_000)
	var refs []kv.Ref
	for i := range n / 2 {
		refs = append(refs, kv.Ref{Key: wideEntry(i, 0).Key, Version: kv.Version{Time: 1}})
	}
	untilPurged(t, s, refs)
	for i := range refs {
		delete(m.sure, string(refs[i].Key))
	}
	for i := range n / 4 {
		untilTaken(t, s, m, wideEntry(2_000_000+i, 20_000))
	}
	m.check(t, s)
}
