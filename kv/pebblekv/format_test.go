package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// refusal opens a store that must not open, and checks what the error says.
func refusal(t *testing.T, cfg config, is error, says ...string) {
	t.Helper()
	s, err := open(cfg)
	if err == nil {
		s.Close()
		t.Fatal("the store opens")
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("the error is %v, want %v", err, is)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	// It has let go of the directory.
	if lock, err := cfg.fs.Lock(cfg.path(lockName)); err == nil {
		lock.Close()
	} else if cfg.fs.PathBase(cfg.dir) != "file" {
		t.Errorf("the directory is still locked: %v", err)
	}
}

func mustWrite(t *testing.T, fs vfs.FS, path, text string) {
	t.Helper()
	if err := fs.MkdirAll(fs.PathDir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(fs, path, text); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, cfg config) config {
	t.Helper()
	if err := mustOpen(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestRefusedDirectories(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T, cfg config){
		"foreign file": func(t *testing.T, cfg config) {
			mustWrite(t, cfg.fs, cfg.path("notes.txt"), "mine")
			refusal(t, cfg, nil, cfg.dir, "notes.txt", "empty directory")
		},
		"foreign database": func(t *testing.T, cfg config) {
			db, err := pebble.Open(cfg.dir, &pebble.Options{FS: cfg.fs})
			if err != nil {
				t.Fatal(err)
			}
			db.Close()
			refusal(t, cfg, nil, cfg.dir, "not a store's")
		},
		"database of that name": func(t *testing.T, cfg config) {
			mustWrite(t, cfg.fs, cfg.path("pebble/000001.sst"), "mine")
			refusal(t, cfg, nil, cfg.dir, "not a store's")
		},
		"other partitions": func(t *testing.T, cfg config) {
			cfg = closed(t, cfg)
			cfg.partitions++
			refusal(t, cfg, nil, "5 partitions, not 6")
		},
		"newer format": func(t *testing.T, cfg config) {
			cfg = closed(t, cfg)
			mustWrite(t, cfg.fs, cfg.path(formatName), formatText(formatVersion+1, 5))
			refusal(t, cfg, nil, cfg.path(formatName), "format 2", "use the program that wrote it")
		},
		"format garbled": func(t *testing.T, cfg config) {
			cfg = closed(t, cfg)
			mustWrite(t, cfg.fs, cfg.path(formatName), "ThunderDX")
			refusal(t, cfg, kv.ErrCorrupt, cfg.path(formatName), "from a copy")
		},
		"format cut": func(t *testing.T, cfg config) {
			cfg = closed(t, cfg)
			mustWrite(t, cfg.fs, cfg.path(formatName), formatTitle+"\nformat 1\npart")
			refusal(t, cfg, kv.ErrCorrupt, cfg.path(formatName), "from a copy")
		},
		"database gone": func(t *testing.T, cfg config) {
			cfg = closed(t, cfg)
			if err := cfg.fs.RemoveAll(cfg.path(databaseName)); err != nil {
				t.Fatal(err)
			}
			refusal(t, cfg, kv.ErrCorrupt, cfg.path(databaseName), "from a copy")
		},
		"not a directory": func(t *testing.T, cfg config) {
			mustWrite(t, cfg.fs, "/data/file", "mine")
			cfg.dir = "/data/file"
			refusal(t, cfg, nil, "/data/file is not a directory")
		},
		"in use by another name": func(t *testing.T, cfg config) {
			dir := t.TempDir()
			if err := os.Symlink(dir, dir+".link"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(dir + ".link") })
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if other, err := Open(dir+".link", Options{}); err == nil {
				other.Close()
				t.Error("a store opens twice")
			}
		},
		"in use": func(t *testing.T, cfg config) {
			s := mustOpen(t, cfg)
			defer s.Close()
			_, err := open(cfg)
			for _, text := range []string{cfg.dir, "in use", "process "} {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not say %q: %v", text, err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, crashConfig(vfs.NewMem()))
		})
	}
	if _, err := Open("", Options{}); err == nil {
		t.Error("a store opens without a directory")
	}
	if _, err := Open(t.TempDir(), Options{Partitions: -1}); err == nil {
		t.Error("a store opens with a negative number of partitions")
	}
}

// TestUnfinished: what a crash left of the making of a store is made anew, and
// lost+found does no harm.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	cfg := crashConfig(vfs.NewMem())
	mustWrite(t, cfg.fs, cfg.path(unfinished), "Thun")
	mustWrite(t, cfg.fs, cfg.path("pebble/000001.sst"), "part")
	mustWrite(t, cfg.fs, cfg.path("lost+found/x"), "")
	closed(t, closed(t, cfg))
}

const damageEntries = 150

// damage holds a store of many tables, closed, whose log is not empty.
type damage struct {
	cfg   config
	model *model
}

func newDamage(t *testing.T) *damage {
	t.Helper()
	d := &damage{cfg: crashConfig(vfs.NewMem()), model: newModel()}
	s := mustOpen(t, d.cfg)
	for n := range damageEntries {
		e := wideEntry(n, 4000)
		if err := put(s, e); err != nil {
			t.Fatal(err)
		}
		d.model.acknowledged([]kv.Entry{e})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

// files returns the paths of the database's files with such names, in order.
func (d *damage) files(t *testing.T, part string) []string {
	t.Helper()
	dir := d.cfg.path(databaseName)
	names, err := d.cfg.fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, name := range names {
		if strings.Contains(name, part) {
			paths = append(paths, d.cfg.fs.PathJoin(dir, name))
		}
	}
	slices.Sort(paths)
	if len(paths) == 0 {
		t.Fatalf("there is no %s among %q", part, names)
	}
	return paths
}

func (d *damage) read(t *testing.T, path string) []byte {
	t.Helper()
	f, err := d.cfg.fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTornLog cuts or garbles the end of the log, as a crash in the middle of a
// write does: all that was complete is there.
func TestTornLog(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 4 {
		d := newDamage(t)
		logs := d.files(t, ".log")
		last := logs[len(logs)-1]
		data := d.read(t, last)
		cut := len(data) - 1 - rnd.IntN(1500) // within the last entry
		torn := bytes.Clone(data[:cut])
		if rnd.IntN(2) == 0 {
			for len(torn) < len(data) {
				torn = append(torn, byte(rnd.Uint32()))
			}
		}
		mustWrite(t, d.cfg.fs, last, string(torn))
		s := mustOpen(t, d.cfg)
		e := wideEntry(damageEntries-1, 0)
		delete(d.model.sure, string(e.Key)) // it was the last
		d.model.offered([]kv.Entry{wideEntry(damageEntries-1, 4000)})
		d.model.check(t, s)
		s.Close()
	}
}

// TestCorruption damages one file after the other: the store does not open, or
// what it returns is right or ErrCorrupt.
func TestCorruption(t *testing.T) {
	t.Parallel()
	flip := func(data []byte) []byte {
		data = bytes.Clone(data)
		for i := 0; i < len(data); i += 97 {
			data[i] ^= 0x55
		}
		return data
	}
	flipOne := func(data []byte) []byte { // in a block of entries, not the first
		data = bytes.Clone(data)
		data[len(data)*2/5] ^= 0x55
		return data
	}
	none := func([]byte) []byte { return nil }
	for _, c := range []struct {
		name, files string
		change      func([]byte) []byte // nil removes the file
		opens       bool                // it may open, and then errors must be right
	}{
		{"table flipped", ".sst", flip, false},
		{"bit of a table flipped", ".sst", flipOne, true},
		{"table removed", ".sst", nil, false},
		{"table empty", ".sst", none, false},
		{"manifest flipped", "MANIFEST", flip, false},
		{"manifest empty", "MANIFEST", none, false},
		{"manifest removed", "MANIFEST", nil, false},
		{"options flipped", "OPTIONS", flip, false},
		{"marker removed", "marker.manifest", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDamage(t)
			for _, path := range d.files(t, c.files) {
				if c.change == nil {
					if err := d.cfg.fs.Remove(path); err != nil {
						t.Fatal(err)
					}
					continue
				}
				mustWrite(t, d.cfg.fs, path, string(c.change(d.read(t, path))))
			}
			s, err := open(d.cfg)
			if err != nil {
				if c.opens {
					t.Error("the store does not open")
				}
				if !errors.Is(err, kv.ErrCorrupt) || !strings.Contains(err.Error(), "from a copy") {
					t.Errorf("the error is %v, want ErrCorrupt and what to do", err)
				}
				return
			}
			defer s.Close()
			if !c.opens {
				t.Fatal("the store opens")
			}
			d.checkDamaged(t, s)
		})
	}
}

// checkDamaged reads all keys of a store with a damaged table.
func (d *damage) checkDamaged(t *testing.T, s *Store) {
	t.Helper()
	corrupt := 0
	for key, want := range d.model.sure {
		got, err := s.Get(context.Background(), []byte(key), nil)
		if errors.Is(err, kv.ErrCorrupt) {
			corrupt++
			if text := err.Error(); !strings.Contains(text, "file 0") || strings.ContainsAny(text, "\n<") {
				t.Errorf("the error names no file, or in a strange way: %v", err)
			}
			continue
		}
		if err != nil || !sameEntry(&got, &want) {
			t.Errorf("Get(%q) = %.20q, %v", key, got.Value, err)
		}
	}
	if corrupt == 0 {
		t.Error("no read met the damage")
	}
	scanErr := error(nil)
	for p := range d.cfg.partitions {
		scanErr = errors.Join(scanErr, s.Scan(context.Background(), p, nil, func(*kv.Entry) bool { return true }))
	}
	if !errors.Is(scanErr, kv.ErrCorrupt) {
		t.Errorf("Scan returns %v, want ErrCorrupt", scanErr)
	}
	if err := put(s, kv.Entry{Key: []byte("other"), Version: kv.Version{Time: 1}}); err != nil && !errors.Is(err, kv.ErrCorrupt) {
		t.Errorf("a write into the damaged store: %v", err)
	}
}
