package handoff

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// Config says how much a [Log] remembers, and where. The zero value is ready
// to use.
type Config struct {
	// Dir is the directory that hints are kept in, which no other Log uses. It
	// is made where it does not exist. Empty means in memory only.
	Dir string
	// MaxBytes is how much memory the hints of all targets may take: their keys
	// and [Overhead] for each. 0 means 64 MiB. Files take up to about as much.
	MaxBytes int64
	// MaxAge is how long a hint is kept; 0 means 3 hours.
	MaxAge time.Duration
	// SyncEvery is how long hints are gathered before they are written and
	// synced together; 0 means 100 ms.
	SyncEvery time.Duration
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Logger tells what is wrong with the disk; nil means nobody wants to know.
	Logger hclog.Logger
}

// Overhead is what a hint takes in memory beside the bytes of its key.
const Overhead = 144

const (
	defaultMaxBytes  = 64 << 20
	defaultMaxAge    = 3 * time.Hour
	defaultSyncEvery = 100 * time.Millisecond
)

// Hint says that a target has missed an entry.
type Hint struct {
	Partition int // of the key
	Key       []byte
	Version   kv.Version // of the entry that was missed
}

// Log is a set of hints. Its methods are safe for concurrent use, and but for
// Run and Replay do not wait for the disk or the network.
type Log struct {
	cfg   Config
	log   hclog.Logger
	files files // nil where hints are in memory only
	said  said  // Run's

	mu          sync.Mutex // guards all below, and all of every queue
	queues      map[uint64]*queue
	inPartition map[int]int // hints, by partition; no zeros
	count       int64
	bytes       int64 // as in Config.MaxBytes
	dropped     int64
}

// Open returns a Log that holds what an earlier process left in the directory.
// A file whose end was torn off or that is damaged is read up to there; a
// damaged one is kept beside, under its name and ".damaged". Open fails where
// cfg is invalid, and where the directory cannot be made or listed.
func Open(cfg Config) (*Log, error) {
	if cfg.MaxBytes < 0 || cfg.MaxAge < 0 || cfg.SyncEvery < 0 {
		return nil, errors.New("open hints: a limit is negative")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = defaultSyncEvery
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	l := &Log{cfg: cfg, log: cfg.Logger, queues: map[uint64]*queue{}, inPartition: map[int]int{}}
	if cfg.Dir == "" {
		return l, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open hints: %w", err)
	}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open hints: %w", err)
	}
	l.files = directory(cfg.Dir)
	return l, nil
}

// Add remembers that the target, a storage identity, has missed version v of
// the key. It does nothing where a hint for that version or a newer one is
// held. It keeps a copy of the key. The partition must fit 32 bits.
func (l *Log) Add(target uint64, partition int, key []byte, v kv.Version) {
	now := l.cfg.Now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(target, missed{partition: uint32(partition), version: v, at: now}, key)
}

// put takes in a hint, of which key is the key, where there is room for it.
func (l *Log) put(target uint64, m missed, key []byte) {
	q := l.queues[target]
	if q != nil {
		if old := q.held[string(key)]; old != nil {
			if m.version.Compare(old.version) > 0 {
				m.key, m.stored = old.key, old.stored
				l.counted(old, -1)
				l.counted(&m, 1)
				q.renew(old, m)
			}
			return
		}
	}
	if l.bytes+int64(len(key))+Overhead > l.cfg.MaxBytes {
		l.dropped++
		return
	}
	if q == nil {
		q = newQueue(target)
		l.queues[target] = q
	}
	m.key = string(key)
	l.counted(&m, 1)
	q.push(m)
}

// remove takes out a hint that q holds.
func (l *Log) remove(q *queue, m *missed) {
	l.counted(m, -1)
	q.remove(m)
}

// counted adds n times m to all sums.
func (l *Log) counted(m *missed, n int) {
	l.count += int64(n)
	l.bytes += int64(n) * (int64(len(m.key)) + Overhead)
	p := int(m.partition)
	if l.inPartition[p] += n; l.inPartition[p] == 0 {
		delete(l.inPartition, p)
	}
}

// Drop forgets all hints for the target, such as an identity that was removed.
// It does not keep Add from remembering new ones.
func (l *Log) Drop(target uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[target]
	if q == nil {
		return
	}
	for _, m := range q.held {
		l.counted(m, -1)
	}
	q.clear()
}

// Count returns how many hints are held, for all targets.
func (l *Log) Count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Dropped returns how many hints were not taken in because MaxBytes was
// reached.
func (l *Log) Dropped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Pending returns how many hints are held for the target.
func (l *Log) Pending(target uint64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[target]; q != nil {
		return len(q.held)
	}
	return 0
}

// Targets returns the targets that hints are held for, in ascending order.
func (l *Log) Targets() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []uint64
	for target, q := range l.queues {
		if len(q.held) > 0 {
			out = append(out, target)
		}
	}
	slices.Sort(out)
	return out
}

// InPartition returns how many hints are held for keys of the partition, for
// all targets.
func (l *Log) InPartition(partition int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inPartition[partition]
}
