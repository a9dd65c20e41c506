package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/thunderdb/thunderdb/kv"
)

// offer is one call of Apply, and what it returned.
type offer struct {
	entries []kv.Entry
	done    []kv.Applied
	err     error
}

// together lets the offers be made as one group: those who make them join while
// the turns are taken.
func together(t *testing.T, s *Store, offers []offer) {
	t.Helper()
	gs := &s.now.Load().engine.groups
	for range cap(gs.turns) {
		gs.turns <- struct{}{}
	}
	var group sync.WaitGroup
	want := 0
	for i := range offers {
		o := &offers[i]
		o.done = make([]kv.Applied, len(o.entries))
		want += len(o.entries)
		group.Go(func() { o.err = s.Apply(context.Background(), o.entries, o.done) })
		for joined := 0; joined < want; { // so that they join in order
			gs.mu.Lock()
			if gs.next != nil {
				joined = len(gs.next.places)
			}
			gs.mu.Unlock()
		}
	}
	for range cap(gs.turns) {
		<-gs.turns
	}
	group.Wait()
}

func version(time int) kv.Version { return kv.Version{Time: uint64(time)} }

// TestGroup makes one group of calls for the same keys and others: each gets
// what it would alone, and the counts are exact, also behind a crash.
func TestGroup(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, crashConfig(fs))
	m := newModel()
	entry := func(key string, time int, value string) kv.Entry {
		return kv.Entry{Key: []byte(key), Version: version(time), Value: []byte(value), Expires: testNow + int64(time)}
	}
	offers := []offer{
		{entries: []kv.Entry{entry("a", 2, "first"), entry("own", 1, "1")}},
		{entries: []kv.Entry{entry("a", 1, "older")}},
		{entries: []kv.Entry{entry("b", 1, "b"), entry("a", 4, "newest"), entry("a", 3, "between")}},
		{entries: []kv.Entry{{Key: []byte("b"), Version: version(2), Deleted: true}}},
	}
	together(t, s, offers)
	for i, want := range [][]kv.Applied{
		{{Held: version(2)}, {Held: version(1)}},
		{{Held: version(2), Was: version(2)}},
		{{Held: version(1)}, {Held: version(4), Was: version(2)}, {Held: version(4), Was: version(4)}},
		{{Held: version(2), Was: version(1)}},
	} {
		if got := offers[i]; got.err != nil || fmt.Sprint(got.done) != fmt.Sprint(want) {
			t.Errorf("call %d gets %v, %v, want %v", i, got.done, got.err, want)
		}
		m.acknowledged(offers[i].entries)
	}
	m.check(t, s)
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, crashConfig(after))
	defer s.Close()
	m.check(t, s)
}

// TestGroupsAtOnce writes the same keys and others from many sides, with reads,
// purges and sweeps meanwhile, and large calls beside the groups. What is left is
// what was acknowledged, and the counts are exact, also behind a crash.
func TestGroupsAtOnce(t *testing.T) {
	t.Parallel()
	const sides, rounds = 16, 60
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, crashConfig(fs))
	var group sync.WaitGroup
	for side := range sides {
		group.Go(func() {
			ctx := context.Background()
			for n := range rounds {
				e := kv.Entry{Key: fmt.Append(nil, "shared ", n%5), Value: fmt.Append(nil, side, n), Expires: 1000}
				e.Version = kv.Version{Time: uint64(n + 1), Node: uint64(side)}
				own := kv.Entry{Key: fmt.Append(nil, "own ", side, n), Version: version(1), Value: make([]byte, n)}
				entries := []kv.Entry{e, own}
				if (n+side)%3 == 0 {
					for i := range smallKeys {
						own.Key = fmt.Append(nil, "many ", side, n, i)
						entries = append(entries, own)
					}
				}
				done := make([]kv.Applied, len(entries))
				if err := s.Apply(ctx, entries, done); err != nil {
					t.Error(err)
				}
				if done[0].Held.Compare(e.Version) < 0 || done[1] != (kv.Applied{Held: own.Version}) {
					t.Errorf("Apply of %v says %v", e.Version, done)
				}
				if got, err := s.Get(ctx, own.Key, nil); err != nil || len(got.Value) != n {
					t.Errorf("%q was acknowledged, and Get returns %+v, %v", own.Key, got, err)
				}
				if side%4 == 0 {
					if _, err := s.Expire(ctx, testNow, 2); err != nil {
						t.Error(err)
					}
					if err := s.Purge(ctx, []kv.Ref{{Key: e.Key, Version: e.Version}}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	want := count(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, crashConfig(after))
	defer s.Close()
	if got := count(t, s); got != want {
		t.Errorf("%+v is there after a crash, and before %+v", got, want)
	}
}

// count counts what is in a store, and compares that with its Stats.
func count(t *testing.T, s *Store) (sum kv.Stats) {
	t.Helper()
	for p := range s.cfg.partitions {
		err := s.Scan(context.Background(), p, nil, func(e *kv.Entry) bool {
			sum.Entries++
			if e.Live(testNow) {
				sum.Keys++
				sum.Bytes += int64(len(e.Key) + len(e.Value))
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := s.Stats(testNow)
	got.Resident = 0
	if got != sum {
		t.Errorf("Stats are %+v, and there is %+v", got, sum)
	}
	return sum
}

// TestGroupRefusal: what is refused to one of a group, for want of room, since
// what is held of a key is corrupt, or as its context has ended, harms nobody else.
func TestGroupRefusal(t *testing.T) {
	t.Parallel()
	fs := &fixedFS{MemFS: vfs.NewMem()}
	fs.free.Store(8 << 20)
	s := mustOpen(t, crashConfig(fs))
	defer s.Close()
	e := s.now.Load().engine
	bad := []byte("bad")
	key := appendEntryKey(nil, kv.Partition(bad, s.cfg.partitions), bad)
	if err := e.db.Set(key, []byte("too short"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	value := func(key string) kv.Entry { return kv.Entry{Key: []byte(key), Version: version(1), Value: []byte("v")} }
	deletion := func(key string) kv.Entry { return kv.Entry{Key: []byte(key), Version: version(1), Deleted: true} }

	fs.free.Store(reserve(vfs.DiskUsage{TotalBytes: 8 << 20}) / 2) // there is room for deletions only
	s.room.ask()
	s.room.credit.Store(0)
	offers := []offer{
		{entries: []kv.Entry{deletion("a")}},
		{entries: []kv.Entry{value("refused"), deletion("beside")}},
		{entries: []kv.Entry{deletion("bad"), deletion("c")}},
		{entries: []kv.Entry{deletion("d")}},
	}
	together(t, s, offers)
	for i, want := range []error{nil, kv.ErrFull, kv.ErrCorrupt, nil} {
		if got := offers[i].err; !errors.Is(got, want) {
			t.Errorf("call %d gets %v, want %v", i, got, want)
		}
		for j, done := range offers[i].done {
			taken := done == kv.Applied{Held: version(1)}
			if !taken && (done != kv.Applied{} || j > 0 || want == nil) {
				t.Errorf("call %d says %v", i, offers[i].done)
			}
			_, err := s.Get(context.Background(), offers[i].entries[j].Key, nil)
			if taken != (err == nil) {
				t.Errorf("%q: %v, and Get returns %v", offers[i].entries[j].Key, done, err)
			}
		}
	}
	if st := s.Stats(0); st.Entries != 4 {
		t.Errorf("Stats are %+v, want 4 entries", st)
	}

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Apply(ended, []kv.Entry{deletion("e")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context has ended gets %v", err)
	}
	if _, err := s.Get(context.Background(), []byte("e"), nil); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("what was offered too late: %v", err)
	}
}

// TestGroupFails: a sync that fails is an error for all of the group, and none
// is told that anything was taken.
func TestGroupFails(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	s := mustOpen(t, crashConfig(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && isSync(op) {
			return &os.PathError{Op: "sync", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))))
	defer s.Close()
	offers := make([]offer, 5)
	m := newModel()
	for i := range offers {
		offers[i].entries = []kv.Entry{wideEntry(i, 10), wideEntry(0, 10)}
	}
	failing.Store(true)
	together(t, s, offers)
	failing.Store(false)
	for i, o := range offers {
		if !errors.Is(o.err, kv.ErrUnavailable) || o.done[0] != (kv.Applied{}) || o.done[1] != (kv.Applied{}) {
			t.Errorf("call %d gets %v, %v", i, o.done, o.err)
		}
		m.offered(o.entries)
	}
	waitWorking(t, s, m)
	m.check(t, s)
}

// TestGroupIsBounded: who finds a group full leads the next one.
func TestGroupIsBounded(t *testing.T) {
	t.Parallel()
	gs := newGroups()
	one := make([]place, 1)
	a, leads := gs.join(one, pieceBytes-10)
	if !leads {
		t.Fatal("the first does not lead")
	}
	if g, leads := gs.join(one, 10); g != a || leads {
		t.Error("a group that has room is not joined")
	}
	b, leads := gs.join(one, 1)
	if b == a || !leads {
		t.Error("a group takes more bytes than a batch")
	}
	if c, leads := gs.join(make([]place, pieceKeys), 1); c == b || !leads {
		t.Error("a group takes more keys than a batch")
	}
	gs.end(a) // another is the next by now
	if gs.next == nil {
		t.Error("the end of one group ended another")
	}
}
