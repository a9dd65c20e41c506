package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// How a bulk load is cut into batches. Each owner has laneBatches of them: one
// that fills, one that waits, one that is under way.
const (
	batchRecords  = 1000
	batchBytes    = 256 << 10
	laneBatches   = 3
	flushInterval = 200 * time.Millisecond // after which a batch goes unfilled
)

// Load is a bulk load under way. Add and Close are for one goroutine, the
// counts for any.
//
// Records of one key are stored in the order they were added. Memory stays
// flat: Add waits for the owner it adds for.
type Load struct {
	node   *Node
	ctx    context.Context
	report func(line int64, err error)

	stored, failed atomic.Int64

	mu    sync.Mutex // guards what follows; the flusher takes it too
	state *topology.State
	lanes []*lane // by the owner's index in the ring that state reads

	workers sync.WaitGroup
	stop    context.CancelFunc // ends the flusher
}

// lane is the way of a load's records to one owner.
type lane struct {
	filling *batch
	queue   chan *batch // filled
	free    chan *batch
}

// batch is records on their way to one owner. It is reused.
type batch struct {
	ops     []kv.Op
	lines   []int64
	results []kv.Result
	bytes   []byte // what the ops' keys and values point into
}

// Load begins a bulk load. Records that could not be stored are reported by
// their line, from any goroutine. When ctx ends, what is not yet stored fails.
func (n *Node) Load(ctx context.Context, report func(line int64, err error)) *Load {
	l := &Load{node: n, ctx: ctx, report: report}
	flushing, stop := context.WithCancel(ctx)
	l.stop = stop
	l.workers.Go(func() { l.flushRegularly(flushing) })
	return l
}

// Stored returns how many records their owners have acknowledged so far.
func (l *Load) Stored() int64 { return l.stored.Load() }

// Failed returns how many records were reported as not stored so far.
func (l *Load) Failed() int64 { return l.failed.Load() }

// Add takes a record, copying its bytes, and waits where its owner is behind.
// Its error is ErrNotReady or ctx's, and then the record was not taken;
// whatever happens to a record that was taken is counted and reported.
func (l *Load) Add(record Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.node.keeper.State(); s == nil || s != l.state {
		if err := l.follow(s); err != nil {
			return err
		}
	}
	lane := l.lanes[l.state.Read.Owner(record.Key)]
	if !lane.filling.fits(&record) {
		if err := l.send(lane); err != nil {
			return err
		}
	}
	lane.filling.add(&record)
	return nil
}

// Close waits until every record is decided. Its error is ctx's.
func (l *Load) Close() error {
	l.stop()
	l.mu.Lock()
	err := l.finish()
	l.mu.Unlock()
	l.workers.Wait()
	if err == nil && l.ctx.Err() != nil {
		err = fmt.Errorf("bulk load: %w", l.ctx.Err())
	}
	return err
}

// follow makes lanes for the ring's members. Under an older ring everything
// is stored first, so that a key's records cannot overtake each other. mu is
// held.
func (l *Load) follow(s *topology.State) error {
	if s == nil {
		return l.node.Ready()
	}
	if l.state != nil && l.state.Read == s.Read {
		l.state = s
		return nil
	}
	if err := l.finish(); err != nil {
		return err
	}
	l.state = s
	l.lanes = make([]*lane, len(s.Read.Members()))
	for i := range l.lanes {
		l.lanes[i] = l.open()
	}
	return nil
}

// open makes a lane and its worker.
func (l *Load) open() *lane {
	ln := &lane{
		filling: new(batch),
		queue:   make(chan *batch, laneBatches-2),
		free:    make(chan *batch, laneBatches-1),
	}
	for range laneBatches - 1 {
		ln.free <- new(batch)
	}
	l.workers.Go(func() {
		for b := range ln.queue {
			l.store(b)
			ln.free <- b
		}
	})
	return ln
}

// finish sends what is filling, and ends the lanes once all is stored. mu is
// held.
func (l *Load) finish() error {
	var first error
	for _, ln := range l.lanes {
		if err := l.send(ln); err != nil && first == nil {
			first = err
		}
		close(ln.queue)
		for range laneBatches - 1 { // all but the one that fills
			<-ln.free
		}
	}
	l.lanes = nil
	return first
}

// send hands a lane's batch to its worker, waiting for room. On an error the
// batch's records are counted as failed. mu is held.
func (l *Load) send(ln *lane) error {
	if len(ln.filling.ops) == 0 {
		return nil
	}
	select {
	case ln.queue <- ln.filling:
		ln.filling = <-ln.free
		return nil
	case <-l.ctx.Done():
		err := fmt.Errorf("bulk load: %w", l.ctx.Err())
		for _, line := range ln.filling.lines {
			l.fail(line, err)
		}
		ln.filling.reset()
		return err
	}
}

// store has a batch's owner store it, and counts what came of it.
func (l *Load) store(b *batch) {
	defer b.reset()
	ctx, cancel := context.WithTimeout(l.ctx, l.node.cfg.Timeout)
	defer cancel()
	b.results = append(b.results[:0], make([]kv.Result, len(b.ops))...)
	_, err := l.node.doAll(ctx, b.ops, b.results)
	stored := int64(0)
	for i := range b.results {
		if err := firstOf(err, b.results[i].Err); err != nil {
			l.fail(b.lines[i], err)
		} else {
			stored++
		}
	}
	l.stored.Add(stored)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (l *Load) fail(line int64, err error) {
	l.failed.Add(1)
	l.report(line, err)
}

// flushRegularly sends batches that wait for more, so that a slow input is
// stored as it comes.
func (l *Load) flushRegularly(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !l.mu.TryLock() {
			continue // records are coming
		}
		for _, ln := range l.lanes {
			if l.send(ln) != nil {
				break // ctx has ended, which Close will tell
			}
		}
		l.mu.Unlock()
	}
}

// fits reports whether a batch has room for a record. An empty one takes any.
func (b *batch) fits(r *Record) bool {
	return len(b.ops) == 0 ||
		len(b.ops) < batchRecords && len(b.bytes)+len(r.Key)+len(r.Value) <= batchBytes
}

func (b *batch) add(r *Record) {
	if need := len(r.Key) + len(r.Value); cap(b.bytes)-len(b.bytes) < need {
		b.bytes = make([]byte, 0, max(batchBytes, need)) // only when empty: see fits
	}
	b.ops = append(b.ops, kv.Op{
		Verb: kv.Put, Blind: true, Key: b.copy(r.Key), Value: b.copy(r.Value),
		ContentType: r.ContentType, Expires: r.Expires, Need: r.Need,
	})
	b.lines = append(b.lines, r.Line)
}

func (b *batch) copy(p []byte) []byte {
	at := len(b.bytes)
	b.bytes = append(b.bytes, p...)
	return b.bytes[at:len(b.bytes):len(b.bytes)]
}

func (b *batch) reset() {
	b.ops, b.lines, b.bytes = b.ops[:0], b.lines[:0], b.bytes[:0]
	if cap(b.bytes) > batchBytes {
		b.bytes = nil
	}
}
