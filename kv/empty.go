package kv

import (
	"bytes"
	"context"
	"fmt"
)

// emptyChunk is how many entries are purged at once.
const emptyChunk = 512

// EmptyAll removes all entries from a store of so many partitions: at once
// where it is a [Forgetter], and else as [Empty] does.
func EmptyAll(ctx context.Context, s Store, partitions int) error {
	if f, ok := s.(Forgetter); ok {
		return f.Forget(ctx)
	}
	all := make([]int, partitions)
	for p := range all {
		all[p] = p
	}
	return Empty(ctx, s, all)
}

// Empty removes all entries of partitions from a store, without a trace. Where
// others write to these meanwhile it goes on until it has met each empty once.
// The error is ErrNoScan, wrapped, of a store that is no [Scanner] or no
// [Purger]. After any error Empty may be called again.
func Empty(ctx context.Context, s Store, partitions []int) error {
	scanner, scans := s.(Scanner)
	purger, purges := s.(Purger)
	if !scans || !purges {
		return fmt.Errorf("empty partitions: %w", ErrNoScan)
	}
	e := emptying{ctx: ctx, scanner: scanner, purger: purger}
	for _, p := range partitions {
		if err := e.empty(p); err != nil {
			return fmt.Errorf("empty partition %d: %w", p, err)
		}
	}
	return nil
}

// emptying is an Empty under way.
type emptying struct {
	ctx     context.Context
	scanner Scanner
	purger  Purger
	refs    []Ref // visited, and not purged yet
}

// empty scans a partition and purges what it meets, until it meets nothing.
func (e *emptying) empty(partition int) error {
	for met := true; met; {
		met = false
		var failed error
		err := e.scanner.Scan(e.ctx, partition, nil, func(entry *Entry) bool {
			met = true
			e.refs = append(e.refs, Ref{Key: bytes.Clone(entry.Key), Version: entry.Version})
			if len(e.refs) == emptyChunk {
				failed = e.purge()
			}
			return failed == nil
		})
		if err == nil && failed == nil {
			failed = e.purge()
		}
		e.refs = e.refs[:0]
		if failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// purge purges the entries that were visited.
func (e *emptying) purge() error {
	refs := e.refs
	e.refs = e.refs[:0]
	if len(refs) == 0 {
		return nil
	}
	return e.purger.Purge(e.ctx, refs, nil)
}
