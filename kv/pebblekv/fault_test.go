package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/thunderdb/thunderdb/kv"
)

// injector fails the changes of a file system from one on, some of them.
type injector struct {
	err   error
	first int64
	many  int64 // how many fail
	count atomic.Int64
	off   atomic.Bool
}

func (i *injector) String() string { return "injector" }

func (i *injector) MaybeError(op errorfs.Op) error {
	if i.off.Load() || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	if errors.Is(i.err, syscall.ENOSPC) && i.many > 1 && isSync(op) {
		return nil // of a disk that is full, not one that found out too late
	}
	if n := i.count.Add(1) - 1; n < i.first || n >= i.first+i.many {
		return nil
	}
	return &os.PathError{Op: "inject", Path: op.Path, Err: i.err}
}

// isSync reports whether a change is a sync.
func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// allowedError reports whether a call may return this while the disk fails.
func allowedError(err error) bool {
	return errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrFull)
}

// faultRun opens a store and works with it while the injector fails the disk,
// lets the disk work again and waits until the store does too, and checks what
// it holds then and after it was opened anew. It returns how many changes were
// made to the disk.
func faultRun(t *testing.T, inj *injector) int64 {
	t.Helper()
	disk := vfs.NewMem()
	cfg := crashConfig(errorfs.Wrap(disk, inj))
	cfg.memTable = 64 << 10
	m := newModel()
	w := &workload{rnd: rand.New(rand.NewPCG(7, 7))}
	s, err := open(cfg)
	if err != nil {
		if !allowedError(err) && !errors.Is(err, inj.err) {
			t.Fatalf("Open: %v", err)
		}
		inj.off.Store(true)
		s = mustOpen(t, cfg)
	}
	for range 60 {
		if err := w.step(s, m); err != nil && !allowedError(err) {
			t.Fatalf("a call while the disk fails: %v", err)
		}
		key := fmt.Appendf(nil, "key %d", w.rnd.IntN(40))
		m.checkRead(t, s, key)
	}
	changes := inj.count.Load()
	inj.off.Store(true)
	waitWorking(t, s, m)
	m.check(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	s = mustOpen(t, crashConfig(disk))
	defer s.Close()
	m.check(t, s)
	return changes
}

// checkRead reads a key while the disk may fail: it gets what is true or an
// error.
func (m *model) checkRead(t *testing.T, s *Store, key []byte) {
	t.Helper()
	got, err := s.Get(context.Background(), key, nil)
	if errors.Is(err, kv.ErrUnavailable) {
		return
	}
	sure, ok := m.sure[string(key)]
	if errors.Is(err, kv.ErrNotFound) && (!ok || m.loose[string(key)]) {
		return
	}
	if err != nil {
		t.Fatalf("%q was acknowledged, and Get returns %v", key, err)
	}
	if ok && sameEntry(&got, &sure) {
		return
	}
	for i := range m.maybe[string(key)] {
		if sameEntry(&got, &m.maybe[string(key)][i]) {
			return
		}
	}
	t.Fatalf("%q is %+v, want %+v (%v)", key, got, sure, ok)
}

// await repeats try while its error is one that may pass, for so long at most.
func await(t *testing.T, most time.Duration, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if !allowedError(err) || time.Now().After(deadline) {
			t.Fatalf("%s gets %v", what, err)
		}
	}
}

// waitWorking writes until that succeeds.
func waitWorking(t *testing.T, s *Store, m *model) {
	t.Helper()
	e := kv.Entry{Key: []byte("probe"), Version: kv.Version{Time: 1}}
	await(t, 20*time.Second, "the disk works again, and a write", func() error { return put(s, e) })
	m.acknowledged([]kv.Entry{e})
}

// TestFaults fails each change that a small workload makes to the disk, alone
// and with all that follow: no call hangs, lies or ends the process, and the
// store works again when the disk does.
func TestFaults(t *testing.T) {
	t.Parallel()
	none := &injector{first: 1 << 40}
	changes := faultRun(t, none)
	t.Logf("the workload makes %d changes", changes)
	stride := int64(1)
	if testing.Short() || raceEnabled {
		stride = 29
	}
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for name, many := range map[string]int64{"once": 1, "from then on": 1 << 40} {
			t.Run(fmt.Sprintf("%v/%s", errno, name), func(t *testing.T) {
				t.Parallel()
				for first := int64(0); first < changes && !t.Failed(); first += stride {
					faultRun(t, &injector{err: errno, first: first, many: many})
				}
			})
		}
	}
}

// TestUnreadable: a read that the disk fails is an error and no answer, and the
// store goes on.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	d := newDamage(t)
	var failing atomic.Bool
	disk := d.cfg.fs
	d.cfg.fs = errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpFileReadAt {
			return &os.PathError{Op: "read", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))
	d.cfg.cache = 1
	s := mustOpen(t, d.cfg)
	defer s.Close()
	failing.Store(true)
	unreadable := 0
	for key, want := range d.model.sure {
		switch got, err := s.Get(context.Background(), []byte(key), nil); {
		case errors.Is(err, kv.ErrUnavailable):
			unreadable++
		case err != nil || !sameEntry(&got, &want):
			t.Fatalf("Get(%q) = %.20q, %v", key, got.Value, err)
		}
	}
	if unreadable == 0 {
		t.Error("no read failed")
	}
	newer := wideEntry(0, 10)
	newer.Version.Time = 2
	if err := put(s, newer); err != nil && !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a write that must read first gets %v", err)
	}
	failing.Store(false)
	d.model.offered([]kv.Entry{newer})
	for key := range d.model.sure { // a compaction may be opening a table that it could not
		await(t, 20*time.Second, "the disk works again, and a read", func() error {
			_, err := s.Get(context.Background(), []byte(key), nil)
			return err
		})
	}
	d.model.check(t, s)
}

// TestStatsOutage: while the disk fails, and after Close, Stats are the last.
func TestStatsOutage(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	s := mustOpen(t, crashConfig(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &os.PathError{Op: "inject", Path: op.Path, Err: syscall.EIO}
		}
		return nil
	}))))
	if err := put(s, wideEntry(0, 10)); err != nil {
		t.Fatal(err)
	}
	want := s.Stats(testNow)
	if want.Keys != 1 {
		t.Fatalf("Stats are %+v", want)
	}
	failing.Store(true)
	if err := put(s, wideEntry(1, 10)); !errors.Is(err, kv.ErrUnavailable) {
		t.Fatalf("a write to a disk that fails gets %v", err)
	}
	for c := s.now.Load(); c.engine != nil; c = s.now.Load() { // until it has given the engine up
		<-c.over
	}
	if got := s.Stats(testNow); got != want {
		t.Errorf("Stats are %+v while the disk fails, not the last %+v", got, want)
	}
	s.Close()
	if got := s.Stats(testNow); got != want {
		t.Errorf("Stats are %+v after Close, not the last %+v", got, want)
	}
}

// TestUnsyncedIsNotShown holds up the sync of a write: nobody sees it before it
// is sure to last, and nobody else waits for it.
func TestUnsyncedIsNotShown(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	syncing, release := make(chan struct{}), make(chan struct{})
	cfg := crashConfig(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if isSync(op) && armed.CompareAndSwap(true, false) {
			close(syncing)
			<-release
		}
		return nil
	})))
	s := mustOpen(t, cfg)
	defer s.Close()
	other := wideEntry(0, 10)
	if err := put(s, other); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	var group sync.WaitGroup
	e := wideEntry(1, 10)
	var shown, released atomic.Bool
	group.Go(func() {
		if err := put(s, e); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-syncing:
	case <-time.After(20 * time.Second):
		t.Fatal("a write is not synced")
	}
	group.Go(func() {
		_, err := s.Get(context.Background(), e.Key, nil)
		shown.Store(true)
		if !released.Load() {
			t.Errorf("Get returns %v before the entry is synced", err)
		}
		if err != nil {
			t.Errorf("Get: %v", err)
		}
	})
	for n := 0; n < 10_000 && !shown.Load(); n++ {
		if got, err := s.Get(context.Background(), other.Key, nil); err != nil || !sameEntry(&got, &other) {
			t.Fatalf("Get of another key: %+v, %v", got, err)
		}
	}
	released.Store(true)
	close(release)
	group.Wait()
}
