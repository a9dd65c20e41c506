package nodetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// LoadOptions describes a load. The zero value of a field means its default.
type LoadOptions struct {
	Writers int      // 4
	Readers int      // 2
	Nodes   []string // that clients talk to: all that run, at each moment
	// Deletes is the share of writes that delete an earlier key: 0.2. Less than
	// 0 means none.
	Deletes float64
	// Retries is through how many other nodes an operation that failed is tried
	// again, one after the other: 0.
	Retries int
	Every   time.Duration // a client's pause between two operations: 10 ms on average
}

// Load is clients in the background. Writers put keys that nobody else
// writes, and delete some again; what they are told goes into the cluster's
// [Ledger]. Readers read what is known all the while.
type Load struct {
	*clients
	deletes float64
	retries int

	mu     sync.Mutex // guards what follows
	report Report
	last   map[string]time.Time // when each node acknowledged last
}

// Report is what became of a load.
type Report struct {
	Put, Deleted int     // acknowledged
	Read         int     // answered
	Failed       int     // operations of any kind, however often they were tried
	Faults       []error // of the first of them, each try's
	// Outage is the longest time without an acknowledgement of each node that
	// writers talked to. It ends when they stop trying.
	Outage map[string]time.Duration
	// Wrong is what readers were told that cannot be.
	Wrong []error
}

// maxFaults is how many operations that failed are told of one by one.
const maxFaults = 5

// Load starts clients, which go on until Stop or the test's end.
func (c *Cluster) Load(opts LoadOptions) *Load {
	if opts.Writers == 0 {
		opts.Writers = 4
	}
	if opts.Readers == 0 {
		opts.Readers = 2
	}
	if opts.Deletes == 0 {
		opts.Deletes = 0.2
	}
	if opts.Every == 0 {
		opts.Every = 10 * time.Millisecond
	}
	l := &Load{
		clients: c.newClients(opts.Nodes, opts.Every), deletes: opts.Deletes, retries: opts.Retries,
		report: Report{Outage: map[string]time.Duration{}},
		last:   map[string]time.Time{},
	}
	for i := range opts.Writers {
		w := writer{Load: l, id: i, dice: l.dice(i)}
		l.start(w.dice, w.step)
	}
	for i := range opts.Readers {
		dice := l.dice(opts.Writers + i)
		l.start(dice, func(ctx context.Context) { l.read(ctx, dice) })
	}
	return l
}

// Stop ends the load, once what is under way has ended.
func (l *Load) Stop() Report {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report
}

// writer is one client that writes.
type writer struct {
	*Load
	id    int
	dice  *rand.Rand
	count int
	mine  []string // keys that are present
}

// step is one write.
func (w *writer) step(ctx context.Context) {
	if len(w.mine) > 0 && w.dice.Float64() < w.deletes {
		w.delete(ctx)
		return
	}
	w.count++
	key, value := fmt.Sprintf("load%d-w%d-%d", w.number, w.id, w.count), fmt.Sprintf("value %d", w.count)
	w.c.ledger.note(key, value, Unknown)
	op := kv.Op{Verb: kv.Put, Key: []byte(key), Value: []byte(value)}
	tries, err := w.write(ctx, &op, &w.report.Put)
	if err != nil {
		return
	}
	w.c.ledger.note(key, value, Present)
	if tries == 1 {
		// A try that failed may yet be done, and would bring back what was
		// deleted meanwhile: nobody has promised that it is not.
		w.mine = append(w.mine, key)
	}
}

func (w *writer) delete(ctx context.Context) {
	i := w.dice.IntN(len(w.mine))
	key := w.mine[i]
	w.mine = slices.Delete(w.mine, i, i+1)
	_, value := w.c.ledger.Fate(key)
	w.c.ledger.note(key, value, Unknown)
	if _, err := w.write(ctx, &kv.Op{Verb: kv.Delete, Key: []byte(key)}, &w.report.Deleted); err == nil {
		w.c.ledger.note(key, value, Absent)
	}
}

// write writes through one node or, as often as it may, through another. It
// counts what was acknowledged.
func (w *writer) write(ctx context.Context, op *kv.Op, count *int) (tries int, err error) {
	err = ErrGone
	var faults []error
	for name := range w.try(w.dice) {
		tries++
		err = w.c.Do(ctx, name, op).Err
		w.heard(name, err)
		if err == nil {
			break
		}
		faults = append(faults, fmt.Errorf("through %s: %w", name, err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		*count++
	} else {
		w.failed(faults)
	}
	return tries, err
}

// failed counts an operation that failed as often as it was tried. mu is held.
func (l *Load) failed(tries []error) {
	l.report.Failed++
	if len(l.report.Faults) < maxFaults {
		l.report.Faults = append(l.report.Faults, errors.Join(tries...))
	}
}

// heard takes down how a write through a node ended.
func (w *writer) heard(name string, err error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, again := w.last[name]; again {
		w.report.Outage[name] = max(w.report.Outage[name], now.Sub(last))
	} else {
		w.last[name] = now
	}
	if err == nil {
		w.last[name] = now
	}
}

// try yields the nodes that an operation is tried through, as long as it is:
// each time another than the last where there is one.
func (l *Load) try(dice *rand.Rand) iter.Seq[string] {
	return func(yield func(string) bool) {
		last := ""
		for range 1 + l.retries {
			name := l.node(dice, last)
			if name == "" || !yield(name) {
				return
			}
			last = name
		}
	}
}

// read reads one key whose fate is known.
func (l *Load) read(ctx context.Context, dice *rand.Rand) {
	key, fate := l.c.ledger.pick(dice)
	if fate == Unknown {
		return
	}
	var faults []error
	for name := range l.try(dice) {
		r := l.c.Do(ctx, name, &kv.Op{Verb: kv.Get, Key: []byte(key)})
		answered := r.Err == nil || errors.Is(r.Err, kv.ErrNotFound)
		wrong := l.c.ledger.judge(key, fate, r)
		l.mu.Lock()
		switch {
		case wrong != nil:
			l.report.Wrong = append(l.report.Wrong, fmt.Errorf("through %s: %w", name, wrong))
		case answered:
			l.report.Read++
		}
		l.mu.Unlock()
		if answered {
			return
		}
		faults = append(faults, fmt.Errorf("through %s: %w", name, r.Err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed(faults)
}
