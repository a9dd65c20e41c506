package handoff

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	suffix        = ".hints"
	tempSuffix    = ".tmp"     // of a file that is being written anew
	damagedSuffix = ".damaged" // of one that was set aside
)

func fileName(target uint64) string { return fmt.Sprintf("%016x%s", target, suffix) }

// targetOf is the inverse of fileName.
func targetOf(name string) (target uint64, ok bool) {
	digits, _ := strings.CutSuffix(name, suffix)
	target, err := strconv.ParseUint(digits, 16, 64)
	return target, err == nil && name == fileName(target)
}

// load reads the directory. Only that it cannot be listed is an error: what is
// wrong with a file is logged, and costs no more than its hints.
func (l *Log) load() error {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if target, ok := targetOf(e.Name()); ok {
			l.loadFile(target, filepath.Join(l.cfg.Dir, e.Name()))
		} else if strings.HasSuffix(e.Name(), suffix+tempSuffix) {
			// Left by a crash. Where it stays, the next writing overwrites it.
			_ = os.Remove(filepath.Join(l.cfg.Dir, e.Name()))
		}
	}
	return nil
}

// loadFile takes in the hints of one file, and sets it aside where it is
// damaged.
func (l *Log) loadFile(target uint64, path string) {
	q := newQueue(target)
	l.queues[target] = q
	data, err := os.ReadFile(path)
	good := 0
	if err == nil {
		good, err = decode(data, target, func(kind byte, m missed, key []byte) { l.restore(q, kind, m, key) })
	}
	q.exists, q.size, q.written = true, int64(good), q.last
	q.rewrite = good < len(data) || good < headerSize || err != nil
	switch {
	case err != nil:
		aside := os.Rename(path, path+damagedSuffix)
		q.exists = aside != nil
		l.log.Error("a file of hints is damaged, and some hints are lost", "path", path,
			"error", err, "kept", len(q.held), "set aside", aside == nil)
	case q.rewrite:
		l.log.Info("a file of hints ends in the middle of one, as after a crash", "path", path, "kept", len(q.held))
	}
}

// restore does again what a record says was done.
func (l *Log) restore(q *queue, kind byte, m missed, key []byte) {
	now := l.cfg.Now().UnixMilli()
	m.at, m.stored = min(m.at, now), true
	if kind == kindMissed {
		if m.at >= now-l.cfg.MaxAge.Milliseconds() {
			l.put(q.target, m, key)
		}
		return
	}
	if held := q.held[string(key)]; held != nil && held.version.Compare(m.version) <= 0 {
		l.remove(q, held)
	}
}
