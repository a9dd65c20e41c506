package handoff

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// files is where hints are written to. What a method has done is durable when
// it returns nil. It is used by one goroutine at a time.
type files interface {
	// append adds to the named file, which exists, what next returns until that
	// is empty. After an error the file may end in any part of it.
	append(name string, next func() []byte) error
	// replace has the named file consist of what next returns until that is
	// empty. After an error the file is as it was, or what it was to become.
	replace(name string, next func() []byte) error
	// remove removes the named file, if there is one.
	remove(name string) error
}

// directory is the files of a directory of the operating system.
type directory string

func (d directory) append(name string, next func() []byte) error {
	return d.write(name, os.O_WRONLY|os.O_APPEND, next)
}

func (d directory) replace(name string, next func() []byte) error {
	temp := name + tempSuffix
	err := d.write(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, next)
	if err == nil {
		err = os.Rename(d.path(temp), d.path(name))
	}
	if err != nil {
		// It may be what fills the disk. Where it stays, Open removes it.
		_ = os.Remove(d.path(temp))
		return err
	}
	return d.sync()
}

func (d directory) remove(name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync()
}

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

// write opens a file, writes what next returns, and syncs it.
func (d directory) write(name string, flag int, next func() []byte) (err error) {
	f, err := os.OpenFile(d.path(name), flag, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	for chunk := next(); len(chunk) > 0; chunk = next() {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// sync makes durable which names there are.
func (d directory) sync() (err error) {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}
