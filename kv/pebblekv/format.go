package pebblekv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// The directory of a store. FORMAT is written first under another name, and
// gets its own once the database is there: without it, nothing was ever
// acknowledged.
const (
	formatName   = "FORMAT"
	unfinished   = "FORMAT.new"
	lockName     = "LOCK"
	holderName   = "HOLDER"
	databaseName = "pebble"

	formatVersion = 1
	formatTitle   = "ThunderDB disk store"
)

// formatText is the content of FORMAT.
func formatText(version, partitions int) string {
	return fmt.Sprintf("%s\nformat %d\npartitions %d\n", formatTitle, version, partitions)
}

// checkFormat refuses what is not what formatText wrote for these partitions.
func checkFormat(path, text string, partitions int) error {
	title, rest, _ := strings.Cut(text, "\n")
	var version, had int
	if title != formatTitle {
		return fmt.Errorf("%w: %s does not say that this is a store: restore it from a copy of the directory",
			kv.ErrCorrupt, path)
	}
	if _, err := fmt.Sscanf(rest, "format %d\n", &version); err != nil {
		return fmt.Errorf("%w: %s names no format: restore it from a copy of the directory", kv.ErrCorrupt, path)
	}
	if version != formatVersion {
		return fmt.Errorf("%s: the store has format %d, and this program knows format %d only: use the program that wrote it",
			path, version, formatVersion)
	}
	if _, err := fmt.Sscanf(rest, "format %d\npartitions %d\n", &version, &had); err != nil {
		return fmt.Errorf("%w: %s names no number of partitions: restore it from a copy of the directory",
			kv.ErrCorrupt, path)
	}
	if had != partitions {
		return fmt.Errorf("%s: the store has %d partitions, not %d: they are fixed when a cluster is founded",
			path, had, partitions)
	}
	return nil
}

// prepare sees to it that there is a directory which is a store's, and reports
// whether the database in it has still to be made. The directory is locked.
func (c *config) prepare() (fresh bool, err error) {
	text, err := readFile(c.fs, c.path(formatName))
	if err == nil {
		return false, checkFormat(c.path(formatName), text, c.partitions)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, hiding(kv.ErrUnavailable, err)
	}
	names, err := c.fs.List(c.dir)
	if err != nil {
		return false, hiding(kv.ErrUnavailable, err)
	}
	began := slices.Contains(names, unfinished)
	slices.Sort(names)
	for _, name := range names {
		switch {
		case name == lockName, name == holderName, name == unfinished, name == "lost+found":
		case name == databaseName && began:
		default:
			return false, fmt.Errorf("%s holds %s, which is not a store's: give it an empty directory, or one that does not exist",
				c.dir, name)
		}
	}
	// Its end was never acknowledged, so what was begun may go.
	if err := c.fs.RemoveAll(c.path(databaseName)); err != nil {
		return false, unavailable(err)
	}
	if err := writeFile(c.fs, c.path(unfinished), formatText(formatVersion, c.partitions)); err != nil {
		return false, unavailable(err)
	}
	return true, c.syncDir(c.dir)
}

// finish makes a new store one, when its database is there.
func (c *config) finish() error {
	if err := c.fs.Rename(c.path(unfinished), c.path(formatName)); err != nil {
		return unavailable(err)
	}
	return c.syncDir(c.dir)
}

// checkDatabase refuses a store whose database is gone, which Pebble would make
// anew.
func (c *config) checkDatabase() error {
	path := c.path(databaseName)
	gone := errors.New("there is no list of its tables")
	if _, err := c.fs.Stat(path); err == nil {
		desc, err := pebble.Peek(path, c.fs)
		if err == nil && desc.Exists {
			return nil
		}
		if err != nil {
			gone = err
		}
	}
	return c.corrupt(fmt.Errorf("the database in %s is damaged or gone: %w", path, gone))
}

// makeDir creates the store's directory so that it lasts.
func (c *config) makeDir() error {
	var missing []string
	for dir := c.dir; ; dir = c.fs.PathDir(dir) {
		info, err := c.fs.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("disk store: %s is not a directory", dir)
		}
		if err == nil || dir == c.fs.PathDir(dir) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("disk store: %w", err)
		}
		missing = append(missing, dir)
	}
	if err := c.fs.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("disk store: %w", err)
	}
	for _, dir := range missing {
		if err := c.syncDir(c.fs.PathDir(dir)); err != nil {
			return err
		}
	}
	if c.fs == vfs.Default {
		real, err := filepath.EvalSymlinks(c.dir)
		if err != nil {
			return fmt.Errorf("disk store: %w", err)
		}
		c.dir = real // the lock knows directories by name
	}
	return nil
}

func (c *config) syncDir(dir string) error {
	d, err := c.fs.OpenDir(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return hiding(kv.ErrUnavailable, fmt.Errorf("sync %s: %w", dir, err))
	}
	return nil
}

// lockDir keeps others away from the directory, and says who does.
func (c *config) lockDir() (io.Closer, error) {
	lock, err := c.fs.Lock(c.path(lockName))
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("disk store: %s: %w", c.dir, err)
	}
	if err != nil {
		by := "by another process, or by this one"
		if holder, rerr := readFile(c.fs, c.path(holderName)); rerr == nil && holder != "" {
			by = "by " + strings.TrimSpace(holder)
		}
		return nil, fmt.Errorf("disk store: %s is in use %s: %w", c.dir, by, err)
	}
	host, _ := os.Hostname()
	// It only makes another's error clearer.
	_ = writeFile(c.fs, c.path(holderName), fmt.Sprintf("process %d on %s\n", os.Getpid(), host))
	return lock, nil
}

func (c *config) unlockDir(lock io.Closer) error {
	_ = c.fs.Remove(c.path(holderName)) // what is left of it does not matter
	return lock.Close()
}

func readFile(f vfs.FS, path string) (string, error) {
	file, err := f.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	return string(data), err
}

// writeFile writes a file that lasts, as soon as its directory does.
func writeFile(f vfs.FS, path, text string) error {
	file, err := f.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(text))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncLogs syncs what is in the database's logs, so that what is read from them
// lasts.
func syncLogs(c *config) error {
	dir := c.path(databaseName)
	names, err := c.fs.List(dir)
	if err != nil {
		return &fault{op: "list", path: dir, err: err}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		path := c.fs.PathJoin(dir, name)
		f, err := c.fs.Open(path)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return &fault{op: "sync", path: path, err: err, sync: true}
		}
	}
	return nil
}

// mapOpen turns what Pebble says when it opens a database into what to do.
func (e *engine) mapOpen(err error) error {
	switch {
	case errors.Is(err, errBroken) || e.disk.fault() != nil:
		return errBroken
	case isIOError(err):
		return hiding(kv.ErrUnavailable, fmt.Errorf("open %s: %w", e.path(databaseName), err))
	}
	return e.corrupt(fmt.Errorf("open %s: %w", e.path(databaseName), err))
}

// isIOError reports whether it was the operating system that failed, other than
// by not finding a file.
func isIOError(err error) bool {
	var errno interface{ Temporary() bool } // as syscall.Errno has it
	return errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist)
}
