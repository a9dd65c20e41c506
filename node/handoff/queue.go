package handoff

import (
	"slices"
	"sort"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// missed is a hint as it is held.
type missed struct {
	key       string
	version   kv.Version
	at        int64  // when it was added, in Unix milliseconds
	seq       uint64 // its place in the order; 0 once it is removed
	partition uint32
	stored    bool // a record of its key may be in the file
}

// place is where a hint stands, or stood, in the order of its queue. It is
// empty where the hint's seq is another one by now.
type place struct {
	seq  uint64
	hint *missed
}

func (p place) empty() bool { return p.hint.seq != p.seq }

// queue is what is held for one target, oldest first, and what is known of its
// file. The Log's lock guards it.
type queue struct {
	target uint64
	held   map[string]*missed // by key
	order  []place            // by seq; contains every hint of held
	last   uint64             // the highest seq that was given out
	keys   int64              // bytes of the keys in held

	// The file holds, once nothing is being written to it, what the queue held
	// when last was written, but for what is gone since. It does not where
	// rewrite is set: then it is to be written anew, and gone is empty.
	written uint64
	gone    []missed
	rewrite bool
	exists  bool      // there may be a file
	size    int64     // of the file
	retry   time.Time // not to be written before
}

func newQueue(target uint64) *queue {
	return &queue{target: target, held: map[string]*missed{}, rewrite: true}
}

// push appends m, whose key is not held.
func (q *queue) push(m missed) {
	q.keys += int64(len(m.key))
	hint := &m
	q.held[m.key] = hint
	q.stand(hint)
}

// renew replaces a hint by m, of the same key, at the end.
func (q *queue) renew(old *missed, m missed) {
	*old = m
	q.stand(old)
}

// stand gives a hint the last place.
func (q *queue) stand(m *missed) {
	q.last++
	m.seq = q.last
	q.order = append(q.order, place{seq: m.seq, hint: m})
	q.tidy()
}

func (q *queue) remove(m *missed) {
	q.keys -= int64(len(m.key))
	delete(q.held, m.key)
	m.seq = 0
	if m.stored && !q.rewrite {
		q.gone = append(q.gone, *m)
	}
	q.tidy()
}

// clear removes all hints.
func (q *queue) clear() {
	for _, m := range q.held {
		m.seq = 0
	}
	q.held, q.order, q.keys = map[string]*missed{}, nil, 0
	q.mistrust()
}

// mistrust has the file written anew.
func (q *queue) mistrust() { q.rewrite, q.gone = true, nil }

// tidy takes out empty places: those in front, and all when they are most.
func (q *queue) tidy() {
	for len(q.order) > 0 && q.order[0].empty() {
		q.order[0] = place{}
		q.order = q.order[1:]
	}
	if len(q.order) > 2*len(q.held)+1024 {
		q.order = slices.DeleteFunc(q.order, place.empty)
	}
}

// after returns up to limit hints behind seq, none behind end.
func (q *queue) after(seq, end uint64, limit int) []*missed {
	var out []*missed
	from := sort.Search(len(q.order), func(i int) bool { return q.order[i].seq > seq })
	for _, p := range q.order[from:] {
		if p.seq > end || len(out) == limit {
			break
		}
		if !p.empty() {
			out = append(out, p.hint)
		}
	}
	return out
}

// aged returns the oldest hint where it was added before the given time, else
// nil. A hint from the future, for the clock was set back, is as old as now.
func (q *queue) aged(before, now int64) *missed {
	if len(q.order) == 0 {
		return nil
	}
	m := q.order[0].hint
	m.at = min(m.at, now)
	if m.at < before {
		return m
	}
	return nil
}

// live returns the size of a file of what is held.
func (q *queue) live() int64 {
	return headerSize + int64(len(q.held))*recordSize + q.keys
}

// wasteful reports whether most of the file is done.
func (q *queue) wasteful() bool {
	return q.size > compactMin && q.size > 2*q.live()
}
