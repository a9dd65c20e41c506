package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// TestPurgeLasts cuts the power right behind a purge: it is as durable as what
// was applied before, and the counts agree.
func TestPurgeLasts(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, crashConfig(fs))
	var entries []kv.Entry
	var refs []kv.Ref
	for i := range 100 {
		e := kv.Entry{Key: fmt.Appendf(nil, "key %d", i), Version: kv.Version{Time: 1}, Value: []byte("v"), Expires: testNow + 1000}
		entries, refs = append(entries, e), append(refs, kv.Ref{Key: e.Key, Version: e.Version})
	}
	if err := s.Apply(context.Background(), entries, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(context.Background(), refs[:90], nil); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, crashConfig(after))
	defer s.Close()
	m := newModel()
	m.acknowledged(entries[90:])
	for i := range entries[:90] {
		if _, err := s.Get(context.Background(), entries[i].Key, nil); !errors.Is(err, kv.ErrNotFound) {
			t.Fatalf("%q was purged before the crash, and Get returns %v", entries[i].Key, err)
		}
	}
	m.check(t, s)
}

// TestPurgeUnderSweep purges what a sweep is about to make tombstones of: the
// sweep must not take what is gone for damage.
func TestPurgeUnderSweep(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, crashConfig(vfs.NewMem()))
	defer s.Close()
	var entries []kv.Entry
	var refs []kv.Ref
	for i := range 20 {
		e := kv.Entry{Key: fmt.Appendf(nil, "key %d", i), Version: kv.Version{Time: 1}, Expires: 1000}
		entries, refs = append(entries, e), append(refs, kv.Ref{Key: e.Key, Version: e.Version})
	}
	if err := s.Apply(context.Background(), entries, nil); err != nil {
		t.Fatal(err)
	}
	e := s.now.Load().engine
	due, err := e.due(testNow, 100)
	if err != nil || len(due) != len(entries) {
		t.Fatalf("%d are due, %v", len(due), err)
	}
	if err := s.Purge(context.Background(), refs[:10], nil); err != nil {
		t.Fatal(err)
	}
	if n, err := e.sweepKeys(due, testNow, true); n != 10 || err != nil {
		t.Errorf("the sweep made %d tombstones, %v, want 10", n, err)
	}
	if st := s.Stats(testNow); st.Entries != 10 || st.Keys != 0 || st.Bytes != 0 {
		t.Errorf("Stats are %+v", st)
	}
}

// TestPurgeAtOnce purges and writes the same keys from several sides, with
// sweeps meanwhile; what is left agrees with the counts and the index.
func TestPurgeAtOnce(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, crashConfig(vfs.NewMem()))
	defer s.Close()
	var group sync.WaitGroup
	for side := range 3 {
		group.Go(func() {
			for n := range 100 {
				version := kv.Version{Time: uint64(n + 1), Node: uint64(side)}
				var batch []kv.Entry
				var refs []kv.Ref
				for k := range 10 {
					e := kv.Entry{Key: fmt.Append(nil, k), Version: version, Value: []byte("v"), Expires: int64(1000 + n%3)}
					batch, refs = append(batch, e), append(refs, kv.Ref{Key: e.Key, Version: version})
				}
				if err := s.Apply(context.Background(), batch, nil); err != nil {
					t.Error(err)
				}
				if _, err := s.Expire(context.Background(), 1001, 5); err != nil {
					t.Error(err)
				}
				if err := s.Purge(context.Background(), refs, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if _, err := s.Expire(context.Background(), 5000, 100); err != nil {
		t.Error(err)
	}
	left := 0
	for p := range s.cfg.partitions {
		if err := s.Scan(context.Background(), p, nil, func(*kv.Entry) bool { left++; return true }); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(0); st.Entries != int64(left) || st.Keys != 0 || st.Bytes != 0 {
		t.Errorf("Stats are %+v, and there are %d tombstones", st, left)
	}
}

// fixedFS is a file system in memory that says it has so much free of 8 MiB.
type fixedFS struct {
	*vfs.MemFS
	free atomic.Int64
}

func (f *fixedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(f.free.Load()), TotalBytes: 8 << 20}, nil
}

// TestPurgeHasMoreRoom: purges go on while even deletions are refused, and say
// so when they are refused as well.
func TestPurgeHasMoreRoom(t *testing.T) {
	t.Parallel()
	fs := &fixedFS{MemFS: vfs.NewMem()}
	fs.free.Store(8 << 20)
	s := mustOpen(t, crashConfig(fs))
	defer s.Close()
	m := newModel()
	entries := []kv.Entry{wideEntry(0, 100), wideEntry(1, 100)}
	if err := s.Apply(context.Background(), entries, nil); err != nil {
		t.Fatal(err)
	}
	m.acknowledged(entries)
	kept := reserve(vfs.DiskUsage{TotalBytes: 8 << 20})
	for _, test := range []struct {
		free         int64
		value, purge bool
		deletion     bool
	}{
		{free: kept * 2, value: true, deletion: true, purge: true},
		{free: kept / 2, deletion: true, purge: true},
		{free: kept / 6, purge: true},
		{free: kept / 20},
	} {
		fs.free.Store(test.free)
		s.room.ask()
		s.room.credit.Store(0)
		for what, want := range map[purpose]bool{forValue: test.value, forDeletion: test.deletion, forPurge: test.purge} {
			if err := s.room.admit(what, 100); (err == nil) != want || err != nil && !errors.Is(err, kv.ErrFull) {
				t.Errorf("with %d bytes free of %d kept, %d: %v", test.free, kept, what, err)
			}
		}
	}
	purged := []bool{true, true}
	refs := []kv.Ref{{Key: entries[0].Key, Version: entries[0].Version}, {Key: entries[1].Key, Version: entries[1].Version}}
	err := s.Purge(context.Background(), refs, purged)
	if !errors.Is(err, kv.ErrFull) || purged[0] || purged[1] {
		t.Errorf("a purge that there is no room for: %v, %v", purged, err)
	}
	m.check(t, s)
	fs.free.Store(kept / 6)
	if s.room.spares(int(kept/6)) || !s.room.spares(100) {
		t.Error("compactions must end at the last eighth, and not before")
	}
	if err := s.Purge(context.Background(), refs[:1], purged[:1]); err != nil || !purged[0] {
		t.Errorf("a purge that there is room for: %v, %v", purged, err)
	}
	clear(m.sure)
	m.acknowledged(entries[1:])
	m.check(t, s)
}
