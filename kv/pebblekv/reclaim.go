package pebblekv

import (
	"context"
	"sync/atomic"
)

// Deletions make room only once the tables that hold the old values are written
// anew, which Pebble does when it sees fit. So when a value gets ErrFull and
// enough of what is on the disk is garbage, the store has the tables written
// anew, a part of the keys after the other: each part takes as much room, for a
// while, as what is left of it.
const (
	// garbageShare is the part of the file system that must be garbage, one of
	// so many.
	garbageShare = 32
	reclaimParts = 16
)

// garbage is how many bytes on the disk are old values.
type garbage struct {
	bytes   atomic.Int64
	working atomic.Bool // while a goroutine reclaims it
}

// guess estimates the garbage of a database that was just opened.
func (e *engine) guessGarbage() {
	e.garbage.bytes.Store(max(0, int64(e.db.Metrics().Table.Local.LiveSize)-e.ledger.load().bytes))
}

// reclaim has the garbage of the store's engine removed, if that is worth it
// and nobody does.
func (s *Store) reclaim(e *engine) {
	if e.garbage.bytes.Load() < s.room.total()/garbageShare || e.readOnly || !e.users.enter() {
		return
	}
	if !e.garbage.working.CompareAndSwap(false, true) {
		e.users.leave()
		return
	}
	s.work.Go(func() {
		defer e.users.leave()
		defer e.garbage.working.Store(false)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s.work.Go(func() {
			select {
			case <-s.stop:
			case <-e.disk.ended:
			case <-ctx.Done():
			}
			cancel()
		})
		had := e.garbage.bytes.Load()
		if err := e.compact(ctx); err != nil {
			s.cfg.log.Warn("the room of old values is not won back", "dir", s.cfg.dir, "error", err)
			return
		}
		e.garbage.bytes.Add(-had)
		s.cfg.log.Info("won back the room of old values", "dir", s.cfg.dir, "bytes", had)
	})
}

// compact writes all tables anew without what is old in them.
func (e *engine) compact(ctx context.Context) error {
	if err := e.db.Flush(); err != nil {
		return err
	}
	bound := func(part int) []byte { return appendEntryKey(nil, e.partitions*part/reclaimParts, nil) }
	for part := range reclaimParts {
		from, to := bound(part), bound(part+1)
		if part == 0 {
			from = []byte{prefixCounts}
		}
		if string(from) == string(to) {
			continue
		}
		if err := e.db.Compact(ctx, from, to, false); err != nil {
			return err
		}
	}
	return nil
}
