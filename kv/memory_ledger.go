package kv

import (
	"sync"
	"sync/atomic"
)

const (
	// pageSeconds is how many seconds a page of a ledger spans.
	pageSeconds = 1024
	// lineBytes is about what a line of a ledger takes in its map.
	lineBytes = 48
)

// ledger counts entries by the second they expire in, so that those that have
// expired by a moment can be told without looking at them. It is safe for
// concurrent use.
type ledger struct {
	mu    sync.Mutex // guards all below
	total counts
	lines map[int64]counts // by second
	pages map[int64]counts // by second / pageSeconds
	most  int              // lines and pages that there were: maps do not shrink

	resident *atomic.Int64 // the store's count of allocated bytes
}

// second returns the first whole second, in Unix time, at which an entry with
// this expiry has expired.
func second(expires int64) int64 {
	if expires%1000 > 0 {
		return expires/1000 + 1
	}
	return expires / 1000
}

// floorDiv returns a divided by b, rounded down.
func floorDiv(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}

// add counts entries that expire at this moment, in Unix milliseconds.
func (l *ledger) add(expires int64, c counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines, l.pages = map[int64]counts{}, map[int64]counts{}
	}
	at := second(expires)
	l.total.add(c)
	post(l.lines, at, c)
	post(l.pages, floorDiv(at, pageSeconds), c)
	if n := len(l.lines) + len(l.pages); n > l.most {
		l.resident.Add(int64(n-l.most) * lineBytes)
		l.most = n
	}
}

// sub takes back what add counted.
func (l *ledger) sub(expires int64, c counts) {
	l.add(expires, counts{-c.keys, -c.bytes})
}

// post adds c to a count, and forgets a count that has become zero.
func post(m map[int64]counts, at int64, c counts) {
	sum := m[at]
	sum.add(c)
	if sum == (counts{}) {
		delete(m, at)
		return
	}
	m[at] = sum
}

// live returns the counts of what has not expired by now, in Unix
// milliseconds, to the second.
func (l *ledger) live(now int64) counts {
	at := floorDiv(now, 1000)
	page := floorDiv(at, pageSeconds)
	l.mu.Lock()
	defer l.mu.Unlock()
	live := l.total
	for p, c := range l.pages {
		if p < page {
			live.sub(c)
		}
	}
	for s := page * pageSeconds; s <= at; s++ {
		live.sub(l.lines[s])
	}
	return live
}
