package pebblekv

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

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
	purged := make([]bool, len(refs))
	if err := s.Purge(context.Background(), refs, purged); err != nil || slices.Contains(purged, false) {
		t.Fatalf("a purge in a full store: %v, %v", purged, err)
	}
	for i := range refs {
		delete(m.sure, string(refs[i].Key))
	}
	for i := range n / 4 {
		untilTaken(t, s, m, wideEntry(2_000_000+i, 20_000))
	}
	m.check(t, s)
}
