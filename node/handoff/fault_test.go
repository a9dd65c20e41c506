package handoff

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// failing is a disk that may be full: then part of what is to be written is.
type failing struct {
	files
	fails  bool
	during func() // called in the middle of each writing, where not nil
	calls  int
}

// half returns a next that ends early where the disk fails.
func (f *failing) half(next func() []byte) func() []byte {
	return func() []byte {
		chunk := next()
		if f.during != nil && len(chunk) > 0 {
			f.during()
		}
		if f.fails {
			return chunk[:len(chunk)/2]
		}
		return chunk
	}
}

func (f *failing) result(err error) error {
	f.calls++
	if f.fails {
		return syscall.ENOSPC
	}
	return err
}

func (f *failing) append(name string, next func() []byte) error {
	return f.result(f.files.append(name, f.half(next)))
}

func (f *failing) replace(name string, next func() []byte) error {
	if f.fails {
		for chunk := f.half(next); len(chunk()) > 0; {
		}
		return f.result(nil)
	}
	return f.result(f.files.replace(name, f.half(next)))
}

func (f *failing) remove(name string) error {
	if f.fails {
		return f.result(nil)
	}
	return f.result(f.files.remove(name))
}

func TestFailingDiskIsTriedAgain(t *testing.T) {
	for _, appending := range []bool{false, true} {
		t.Run(fmt.Sprintf("appending=%t", appending), func(t *testing.T) {
			clock := newHandClock()
			var logged bytes.Buffer
			cfg := Config{Dir: t.TempDir(), Now: clock.now}
			cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Info})
			l := open(t, cfg)
			disk := &failing{files: l.files}
			l.files = disk
			want := map[uint64][]string{1: {"a@1"}}
			l.Add(1, 1, []byte("a"), version(1))
			if appending {
				l.tend(false)
			}
			disk.fails = true
			l.Add(1, 1, []byte("b"), version(2))
			want[1] = append(want[1], "b@2")
			before := disk.calls
			for range 100 {
				l.tend(false)
				clock.add(retryAfter / 10)
			}
			if got := disk.calls - before; got != 10 {
				t.Errorf("%d attempts in 10 times retryAfter", got)
			}
			expect(t, l, want)
			if n := strings.Count(logged.String(), "disk fails"); n != 1 {
				t.Errorf("logged %d times in 10 s: %s", n, &logged)
			}
			clock.add(time.Minute)
			l.tend(false)
			if n := strings.Count(logged.String(), "disk fails"); n != 2 {
				t.Errorf("logged %d times in 70 s: %s", n, &logged)
			}
			disk.fails = false
			l.tend(false) // too early
			if strings.Contains(logged.String(), "again") {
				t.Errorf("said to be well before it was tried: %s", &logged)
			}
			clock.add(retryAfter)
			l.tend(false)
			if !strings.Contains(logged.String(), "again") {
				t.Errorf("not said to be well: %s", &logged)
			}
			expect(t, open(t, cfg), want)
		})
	}
}

func TestLastWriteWaitsForNoRetry(t *testing.T) {
	clock := newHandClock()
	cfg := Config{Dir: t.TempDir(), Now: clock.now}
	l := open(t, cfg)
	disk := &failing{files: l.files, fails: true}
	l.files = disk
	l.Add(1, 1, []byte("a"), version(1))
	l.tend(false)
	disk.fails = false
	l.tend(true)
	expect(t, open(t, cfg), map[uint64][]string{1: {"a@1"}})
}

// TestChangesDuringAWrite does to a queue, while its file is written, each
// thing that can be done to it, and expects the next write to know of it.
func TestChangesDuringAWrite(t *testing.T) {
	fill := func(l *Log) {
		for i := range chunkRecords + 10 {
			l.Add(1, 1, fmt.Appendf(nil, "k%d", i), version(1))
		}
	}
	last := fmt.Sprintf("k%d", chunkRecords+9)
	for name, change := range map[string]func(*Log){
		"drop":     func(l *Log) { l.Drop(1) },
		"drop all": func(l *Log) { l.Drop(1); l.Drop(2) },
		"drop and add": func(l *Log) {
			l.Drop(1)
			l.Add(1, 1, []byte("k1"), version(1))
		},
		"renew":      func(l *Log) { l.Add(1, 1, []byte("k1"), version(2)); l.Add(1, 1, []byte(last), version(2)) },
		"first done": func(l *Log) { finish(t, l, 1, "k1") },
		"last done":  func(l *Log) { finish(t, l, 1, last) },
		"done and older added": func(l *Log) {
			finish(t, l, 1, "k1")
			l.Add(1, 1, []byte("k1"), version(0))
		},
	} {
		for _, appending := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,appending=%t", name, appending), func(t *testing.T) {
				cfg := Config{Dir: t.TempDir()}
				l := open(t, cfg)
				if appending {
					l.Add(1, 1, []byte("k1"), version(0))
					l.tend(false)
				}
				fill(l)
				disk := &failing{files: l.files}
				disk.during = func() { disk.during = nil; change(l) }
				l.files = disk
				l.tend(false)
				l.tend(false)
				expect(t, open(t, cfg), content(t, l))
			})
		}
	}
}

func TestVanishedFileIsWrittenAnew(t *testing.T) {
	clock := newHandClock()
	cfg := Config{Dir: t.TempDir(), Now: clock.now}
	l := open(t, cfg)
	l.Add(1, 1, []byte("a"), version(1))
	l.tend(false)
	if err := os.Remove(filepath.Join(cfg.Dir, fileName(1))); err != nil {
		t.Fatal(err)
	}
	l.Add(1, 1, []byte("b"), version(1))
	l.tend(false)
	clock.add(retryAfter)
	l.tend(false)
	expect(t, open(t, cfg), map[uint64][]string{1: {"a@1", "b@1"}})
}

// TestFailedReplaceLeavesNothing has a rename fail, as no disk that is only full
// would have it.
func TestFailedReplaceLeavesNothing(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	l := open(t, cfg)
	if err := os.MkdirAll(filepath.Join(cfg.Dir, fileName(1), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.Add(1, 1, []byte("a"), version(1))
	l.tend(false)
	if got := names(t, cfg.Dir); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
	expect(t, l, map[uint64][]string{1: {"a@1"}})
}

func TestDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: filepath.Join(file, "hints")}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("open: %v, want ENOTDIR", err)
	}
}
