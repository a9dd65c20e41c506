package pebblekv

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// scanAge is how long a scan keeps one view of the store, and with it the
	// files that have become garbage meanwhile.
	scanAge = time.Second
	// scanCheck is after how many entries a scan looks at the clock and at ctx.
	scanCheck = 32
)

// Scan implements [kv.Scanner]. It shows entries as soon as they are written,
// which may be before they are sure to survive a crash. It returns ctx's error
// where ctx ends meanwhile.
func (s *Store) Scan(ctx context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	if partition < 0 || partition >= s.cfg.partitions {
		return fmt.Errorf("scan: no partition %d among %d", partition, s.cfg.partitions)
	}
	e, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer e.users.leave()
	next := appendEntryKey(nil, partition, from)
	for next != nil {
		if next, err = e.scanSome(ctx, partition, next, visit); err != nil {
			return err
		}
	}
	return nil
}

// scanSome visits entries until the view that it takes is old, and returns the
// key to go on with; nil at the end.
func (e *engine) scanSome(ctx context.Context, partition int, from []byte, visit func(*kv.Entry) bool) (next []byte, err error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: appendPartitionEnd(nil, partition)})
	if err != nil {
		return nil, e.mapError("scan", err)
	}
	defer func() { _ = it.Close() }() // it.Error has been asked
	taken := time.Now()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%scanCheck == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if time.Since(taken) > scanAge {
				return bytes.Clone(it.Key()), nil
			}
		}
		entry, err := e.scanned(it)
		if err != nil {
			return nil, err
		}
		if !visit(&entry) {
			return nil, nil
		}
	}
	if err := it.Error(); err != nil {
		return nil, e.mapError("scan", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, e.trusted()
}

// scanned returns the entry that an iterator stands at.
func (e *engine) scanned(it *pebble.Iterator) (kv.Entry, error) {
	data, err := it.ValueAndErr()
	if err != nil {
		return kv.Entry{}, e.mapError("scan", err)
	}
	entry, err := kv.ParseEntry(data)
	if err != nil {
		return kv.Entry{}, e.corrupt(err)
	}
	entry.Key = it.Key()[entryHeader:]
	return entry, e.trusted()
}
