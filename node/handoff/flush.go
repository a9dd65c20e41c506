package handoff

import "time"

// chunkRecords is how many records are encoded at a time, for Add waits
// meanwhile.
const chunkRecords = 4096

// way is what becomes of a file.
type way int

const (
	leave   way = iota // it is as it should be
	remove             // nothing is held
	replace            // it is unknown, or most of it is done
	extend             // some hints are new, or done
)

// writing is one change of a queue's file.
type writing struct {
	log  *Log
	q    *queue
	how  way
	seq  uint64 // hints up to this one are written
	end  uint64 // and are to be, up to this one
	size int64  // of all chunks so far
	buf  []byte // the chunk
	// ready says that buf is the next chunk already.
	ready bool
}

// flush brings the queue's file up to date. It is called by one goroutine at a
// time, and is the only one to take a queue out of the Log: while a file is
// written to, no other queue of the same name may come about.
func (l *Log) flush(q *queue, now time.Time) error {
	w := l.begin(q)
	var err error
	switch w.how {
	case leave:
		return nil
	case remove:
		err = l.files.remove(fileName(q.target))
	case replace:
		err = l.files.replace(fileName(q.target), w.next)
	case extend:
		err = l.files.append(fileName(q.target), w.next)
	}
	w.finish(err, now)
	return err
}

// begin decides what is to be done. From then on the queue notes what the
// writing does not cover.
func (l *Log) begin(q *queue) *writing {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &writing{log: l, q: q, end: q.last}
	switch {
	case len(q.held) == 0 && !q.exists:
		delete(l.queues, q.target)
	case l.files == nil:
	case len(q.held) == 0:
		w.how = remove
		q.mistrust()
	case q.rewrite || q.wasteful():
		w.how = replace
		q.rewrite, q.gone, q.exists = false, nil, true
		w.buf, w.ready = appendHeader(w.buf, q.target), true
	default:
		w.seq = q.written
		for i := range q.gone {
			w.buf = appendRecord(w.buf, kindDone, &q.gone[i])
		}
		q.gone = nil
		if w.fill(); len(w.buf) > 0 {
			w.how, w.ready = extend, true
		}
	}
	return w
}

// next returns the next chunk, which is good until the next call, and an empty
// one at the end.
func (w *writing) next() []byte {
	if !w.ready {
		w.log.mu.Lock()
		w.buf = w.buf[:0]
		w.fill()
		w.log.mu.Unlock()
	}
	w.ready = false
	w.size += int64(len(w.buf))
	return w.buf
}

// fill appends to the chunk. What is removed from here on is noted as gone.
func (w *writing) fill() {
	for _, m := range w.q.after(w.seq, w.end, chunkRecords) {
		w.buf = appendRecord(w.buf, kindMissed, m)
		m.stored = true
		w.seq = m.seq
	}
}

// finish tells the queue what has become of its file.
func (w *writing) finish(err error, now time.Time) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	q := w.q
	if err != nil {
		q.mistrust()
		q.retry = now.Add(retryAfter)
		return
	}
	q.written = w.end
	switch w.how {
	case remove:
		q.exists, q.size = false, 0
	case replace:
		q.size = w.size
	case extend:
		q.size += w.size
	}
}
