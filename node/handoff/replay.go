package handoff

import "context"

// batchSize is how many hints Replay hands over at a time, at most.
const batchSize = 500

// Replay hands the hints for the target to send, oldest first, at most 500 at a
// time. It hands over what was held when it began, each hint once, and removes
// those that send reports as done: done[i], where there is one, is about
// batch[i], and counts also beside an error. All others are kept for another
// Replay. It ends with the first error of send, or of ctx. Send may use this
// Log, and keep batch.
func (l *Log) Replay(ctx context.Context, target uint64,
	send func(ctx context.Context, batch []Hint) (done []bool, err error)) error {
	l.dropAged(l.cfg.Now())
	seq, end := uint64(0), l.end(target)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var batch []Hint
		if batch, seq = l.batch(target, seq, end); len(batch) == 0 {
			return nil
		}
		done, err := send(ctx, batch)
		l.settle(target, batch, done)
		if err != nil {
			return err
		}
	}
}

// end returns the seq of the newest hint for the target.
func (l *Log) end(target uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[target]; q != nil {
		return q.last
	}
	return 0
}

// batch returns the hints behind seq, none behind end, and the seq of the last.
func (l *Log) batch(target, seq, end uint64) ([]Hint, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[target]
	if q == nil {
		return nil, seq
	}
	found := q.after(seq, end, batchSize)
	batch := make([]Hint, len(found))
	for i, m := range found {
		batch[i] = Hint{Partition: int(m.partition), Key: []byte(m.key), Version: m.version}
		seq = m.seq
	}
	return batch, seq
}

// settle removes what is done, unless a newer version was missed meanwhile.
func (l *Log) settle(target uint64, batch []Hint, done []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[target]
	if q == nil {
		return
	}
	for i := range batch[:min(len(batch), len(done))] {
		if m := q.held[string(batch[i].Key)]; done[i] && m != nil && m.version == batch[i].Version {
			l.remove(q, m)
		}
	}
}
