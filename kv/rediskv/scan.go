package rediskv

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// firstPage is how many entries a scan asks for at first, pageEntries how
	// many at most, and pageBytes is how large it wants its pages to be,
	// judged by those before.
	firstPage   = 16
	pageEntries = 512
	pageBytes   = 256 << 10
)

// Scan implements [kv.Scanner]. It asks for all keys of the partition when it
// begins, and for the entries in pages as it goes.
func (s *Store) Scan(ctx context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	if partition < 0 || partition >= s.layout.partitions {
		return fmt.Errorf("scan: no partition %d among %d", partition, s.layout.partitions)
	}
	w := scanning{store: s, hash: s.layout.hash(partition), group: partition % len(s.layout.groups), visit: visit}
	var keys []string
	err := s.do(ctx, "scan", func(ctx context.Context) (err error) {
		keys, err = s.client.HKeys(ctx, w.hash).Result()
		if err == nil && len(keys) == 0 {
			err = w.checkGuard(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return key < string(from) })
	slices.Sort(keys)
	for n := firstPage; len(keys) > 0; {
		n = min(n, len(keys))
		size, more, err := w.visitPage(ctx, keys[:n])
		if err != nil || !more {
			return err
		}
		keys = keys[n:]
		n = max(1, min(2*n, n*pageBytes/max(size, 1), pageEntries))
	}
	return nil
}

// scanning is a scan under way.
type scanning struct {
	store *Store
	hash  string // of the partition
	group int    // of the partition
	visit func(*kv.Entry) bool
}

// visitPage visits the entries of some keys, and returns how many bytes they
// have and whether the scan goes on.
func (w *scanning) visitPage(ctx context.Context, keys []string) (size int, more bool, err error) {
	s := w.store
	var page []any
	err = s.do(ctx, "scan", func(ctx context.Context) (err error) {
		page, err = s.client.HMGet(ctx, w.hash, keys...).Result()
		if err == nil && slices.Contains(page, nil) {
			err = w.checkGuard(ctx)
		}
		return err
	})
	if err != nil {
		return 0, false, err
	}
	for i, data := range page {
		text, ok := data.(string)
		if !ok {
			continue // it was purged
		}
		size += len(text)
		e, err := kv.ParseEntry([]byte(text))
		if err != nil {
			return 0, false, fmt.Errorf("scan: key %q: %w", keys[i], err)
		}
		e.Key = []byte(keys[i])
		if !w.visit(&e) {
			return size, false, nil
		}
	}
	return size, true, nil
}

// checkGuard returns an error where what is missing was lost: it must not look
// as if it had been purged, nor as the end of the partition.
func (w *scanning) checkGuard(ctx context.Context) error {
	if err := w.store.missing(ctx, w.group); !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}
