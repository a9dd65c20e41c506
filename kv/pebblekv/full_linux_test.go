package pebblekv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// mountSmall mounts a file system of its own, of so many bytes.
func mountSmall(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("thunderdb-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)) && os.Getenv("CI") != "true" {
		t.Skip("mounting a file system needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp writes a file until the file system has no byte left.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
}

// wideEntry returns an entry that does not compress.
func wideEntry(n, size int) kv.Entry {
	rnd := rand.New(rand.NewPCG(uint64(n), 5))
	e := kv.Entry{Key: fmt.Appendf(nil, "wide %d", n), Value: make([]byte, size), Version: kv.Version{Time: 1}}
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(e.Value[i:], rnd.Uint64())
	}
	return e
}

func deletionOf(e kv.Entry) kv.Entry {
	return kv.Entry{Key: e.Key, Version: kv.Version{Time: e.Version.Time + 1}, Deleted: true}
}

func put(s *Store, e kv.Entry) error {
	return s.Apply(context.Background(), []kv.Entry{e}, nil)
}

// untilFull writes entries until the store is full, and returns how many.
func untilFull(t *testing.T, s *Store, m *model, size, most int) int {
	t.Helper()
	for n := range most {
		e := wideEntry(n, size)
		err := put(s, e)
		if errors.Is(err, kv.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatalf("entry %d: %v", n, err)
		}
		m.acknowledged([]kv.Entry{e})
	}
	t.Fatalf("the store took %d entries of %d bytes, and is not full", most, size)
	return 0
}

// upkeepPatience is how long Pebble may take to win back room: it leaves alone for
// half a minute what it had no room to compact.
const upkeepPatience = time.Minute

// untilTaken repeats a write that gets ErrFull.
func untilTaken(t *testing.T, s *Store, m *model, e kv.Entry) {
	t.Helper()
	await(t, upkeepPatience, "there is room, and a write", func() error { return put(s, e) })
	m.acknowledged([]kv.Entry{e})
}

// untilRefused puts an entry, which must get ErrFull; again where upkeep has made
// room since the disk was filled up.
func untilRefused(t *testing.T, s *Store, m *model, e *kv.Entry, filler string) {
	t.Helper()
	err := put(s, *e)
	for ; err == nil; err = put(s, *e) {
		m.acknowledged([]kv.Entry{*e})
		e.Version.Time++
		fillUp(t, filler)
	}
	m.offered([]kv.Entry{*e})
	if !errors.Is(err, kv.ErrFull) {
		t.Errorf("a value on a full disk gets %v, want ErrFull", err)
	}
}

// TestFullDisk lets the store fill a file system, and others fill it to the
// last byte. Nothing that was acknowledged is lost, reads go on throughout, and
// deletions while the reserve lasts; and writes do by themselves once there is
// room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{16 << 20, 64 << 20} {
		t.Run(fmt.Sprintf("%d MiB", size>>20), func(t *testing.T) {
			t.Parallel()
			if size > 16<<20 && (raceEnabled || testing.Short()) {
				t.Skip("it takes long")
			}
			mount := mountSmall(t, size)
			cfg := small(filepath.Join(mount, "store"), vfs.Default)
			cfg.partitions, cfg.memTable = 5, maxMemTable
			cfg.pace.readPatience = usualPace.readPatience // reads go on
			s := mustOpen(t, cfg)
			closed := false
			defer func() {
				if !closed {
					s.Close()
				}
			}()
			m := newModel()
			n := untilFull(t, s, m, 20_000, int(size/10_000))
			t.Logf("%d entries of 20 kB, %s", n, s.room.describe())
			if min := int(size * 3 / 8 / 20_000); n < min {
				t.Errorf("the store is full with %d entries, want %d", n, min)
			}
			m.check(t, s)
			for i := range n / 2 {
				e := deletionOf(wideEntry(i, 0))
				untilTaken(t, s, m, e)
			}
			for i := range n / 4 { // in the room of what was deleted
				untilTaken(t, s, m, wideEntry(2_000_000+i, 20_000))
			}
			m.check(t, s)
			if err := s.SaveMeta(context.Background(), "identity", []byte("me")); err != nil {
				t.Fatalf("metadata in a full store: %v", err)
			}

			filler := filepath.Join(mount, "filler")
			fillUp(t, filler)
			refused := kv.Entry{Key: []byte("wide 0"), Value: make([]byte, 1<<20), Version: kv.Version{Time: 9}}
			untilRefused(t, s, m, &refused, filler)
			for i := range 2000 { // until the log has no room either
				e := deletionOf(wideEntry(n/2+i%(n/2), 0))
				e.Version.Time += uint64(i)
				if err := put(s, e); err != nil {
					if !errors.Is(err, kv.ErrFull) && !errors.Is(err, kv.ErrUnavailable) {
						t.Fatalf("a deletion on a full disk gets %v", err)
					}
					m.offered([]kv.Entry{e})
					break
				}
				m.acknowledged([]kv.Entry{e})
			}
			m.check(t, s)
			checkMeta(t, s, "me")
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			untilTaken(t, s, m, deletionOf(wideEntry(1_000_000, 0)))
			m.check(t, s)

			// Also where it is full when the store is opened.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			fillUp(t, filler)
			s = mustOpen(t, cfg)
			m.check(t, s)
			untilRefused(t, s, m, &refused, filler)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			untilTaken(t, s, m, deletionOf(wideEntry(1_000_001, 0)))
			m.check(t, s)
			closed = true
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
