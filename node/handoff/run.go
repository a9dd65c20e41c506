package handoff

import (
	"context"
	"time"
)

const (
	// compactMin is the size from which on it is worth making a file smaller.
	compactMin = 64 << 10
	// retryAfter is how long a file is left alone after an error.
	retryAfter = time.Second
	// sayEvery is how often the same trouble is logged.
	sayEvery = time.Minute
)

// said is what was logged last, by Run.
type said struct {
	failing   bool // the disk was, when last looked at
	complaint time.Time
	dropped   int64 // how many were, when that was logged last
	full      time.Time
}

// Run writes hints to the disk, and drops those that are too old, until ctx
// ends. It then writes what is left, and returns nil. It is called once. No
// error of the disk ends it: hints stay in memory, and the disk is tried again.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.tend(true)
			return nil
		case <-tick.C:
			l.tend(false)
		}
	}
}

// tend does all that is to be done now. The last time no file is passed over
// because it failed a moment ago.
func (l *Log) tend(last bool) {
	now := l.cfg.Now()
	l.dropAged(now)
	var failed error
	left := false // a file that failed is left alone
	for _, q := range l.all() {
		if !last && l.waits(q, now) {
			left = true
			continue
		}
		if err := l.flush(q, now); err != nil {
			failed = err
		}
	}
	l.say(now, failed, left)
}

// dropAged removes the hints that are too old.
func (l *Log) dropAged(now time.Time) {
	ms := now.UnixMilli()
	before := ms - l.cfg.MaxAge.Milliseconds()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.queues {
		for m := q.aged(before, ms); m != nil; m = q.aged(before, ms) {
			l.remove(q, m)
		}
	}
}

func (l *Log) all() []*queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*queue, 0, len(l.queues))
	for _, q := range l.queues {
		out = append(out, q)
	}
	return out
}

func (l *Log) waits(q *queue, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A retry that is far off was set by a clock that has been set back since.
	return q.retry.After(now) && q.retry.Sub(now) <= retryAfter
}

// say logs what is wrong, now and then, and that it is right again.
func (l *Log) say(now time.Time, failed error, left bool) {
	s := &l.said
	switch {
	case failed != nil:
		s.failing = true
		if now.Sub(s.complaint).Abs() >= sayEvery {
			s.complaint = now
			l.log.Warn("hints are kept in memory only, for the disk fails", "hints", l.Count(), "error", failed)
		}
	case s.failing && !left:
		s.failing = false
		l.log.Info("hints are on the disk again", "hints", l.Count())
	}
	if dropped := l.Dropped(); dropped > s.dropped && now.Sub(s.full).Abs() >= sayEvery {
		l.log.Warn("hints are dropped, for there are too many; comparing replicas will find what was missed",
			"dropped", dropped-s.dropped, "hints", l.Count())
		s.dropped, s.full = dropped, now
	}
}
