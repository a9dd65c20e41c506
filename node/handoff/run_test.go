package handoff

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// running starts Run, and returns what ends it and waits for that.
func running(t *testing.T, l *Log) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func TestReopenAfterCleanStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: t.TempDir(), SyncEvery: time.Hour}
		l := open(t, cfg)
		stop := running(t, l)
		l.Add(1, 3, []byte("a"), version(1))
		l.Add(1<<63, 4, []byte("b"), version(2))
		stop()
		again := open(t, cfg)
		expect(t, again, map[uint64][]string{1: {"a@1"}, 1 << 63: {"b@2"}})
		if again.InPartition(3) != 1 || again.InPartition(4) != 1 {
			t.Error("the partitions have changed")
		}
	})
}

func TestReopenAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: t.TempDir(), SyncEvery: 50 * time.Millisecond}
		l := open(t, cfg)
		defer running(t, l)()
		l.Add(1, 3, []byte("a"), version(1))
		l.Add(1, 3, []byte("b"), version(1))
		time.Sleep(49 * time.Millisecond)
		synctest.Wait()
		expect(t, open(t, cfg), nil)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		expect(t, open(t, cfg), map[uint64][]string{1: {"a@1", "b@1"}})
		finish(t, l, 1, "a")
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		expect(t, open(t, cfg), map[uint64][]string{1: {"b@1"}})
	})
}

func TestRunDropsOldInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{})
		defer running(t, l)()
		l.Add(1, 3, []byte("a"), version(1))
		time.Sleep(defaultMaxAge - time.Second)
		synctest.Wait()
		expect(t, l, map[uint64][]string{1: {"a@1"}})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expect(t, l, nil)
		if len(l.queues) != 0 {
			t.Error("a queue is kept for nothing")
		}
	})
}

// names returns the names and sizes of the files in a directory.
func names(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = info.Size()
	}
	return out
}

func TestFileIsRemovedWhenAllIsDone(t *testing.T) {
	for name, end := range map[string]func(*Log){
		"done":    func(l *Log) { finish(t, l, 1, "a") },
		"dropped": func(l *Log) { l.Drop(1) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			l := open(t, cfg)
			l.Add(1, 3, []byte("a"), version(1))
			l.tend(false)
			if len(names(t, cfg.Dir)) != 1 {
				t.Fatal("there is no file")
			}
			end(l)
			l.tend(false)
			if got := names(t, cfg.Dir); len(got) != 0 {
				t.Errorf("there is still %v", got)
			}
			disk := &failing{files: l.files}
			l.files = disk
			l.tend(false)
			if disk.calls != 0 || len(l.queues) != 0 {
				t.Errorf("%d writings of nothing, %d queues", disk.calls, len(l.queues))
			}
			l.Add(1, 3, []byte("b"), version(1))
			l.tend(false)
			expect(t, open(t, cfg), map[uint64][]string{1: {"b@1"}})
		})
	}
}

// TestFileStaysSmall renews the same hints over and over.
func TestFileStaysSmall(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	l := open(t, cfg)
	l.Add(1, 1, []byte("oldest"), version(1))
	for round := range 200 {
		for i := range 50 {
			l.Add(1, 1, fmt.Appendf(nil, "k%d", i), version(1+round))
		}
		l.tend(false)
		if size := names(t, cfg.Dir)[fileName(1)]; size > compactMin+50*100 {
			t.Fatalf("%d bytes for 51 hints", size)
		}
		if n := len(l.queues[1].order); n > 2000 {
			t.Fatalf("%d places for 51 hints", n)
		}
	}
	if size := l.queues[1].size; size != names(t, cfg.Dir)[fileName(1)] {
		t.Errorf("the file is believed to be of %d bytes", size)
	}
	expect(t, open(t, cfg), content(t, l))
}

func TestNothingIsWrittenWhereNothingChanged(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	l := open(t, cfg)
	addMany(l, 1, 0, 3000)
	l.tend(false)
	l = open(t, cfg)
	disk := &failing{files: l.files}
	l.files = disk
	l.Add(1, 1, []byte("k00001"), version(1)) // known
	l.tend(false)
	l.Add(1, 1, []byte("short-lived"), version(1))
	finish(t, l, 1, "short-lived")
	l.tend(false)
	if disk.calls != 0 {
		t.Errorf("%d writings", disk.calls)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{fileName(1) + tempSuffix, "other.txt", "00000000000000AB.hints", "1.hints"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, open(t, Config{Dir: dir}), nil)
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("there are %v; want but those that are not ours", got)
	}
}
