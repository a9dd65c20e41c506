package rediskv

import (
	"context"
	"fmt"
	"slices"

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
	hash := s.layout.hash(partition)
	var keys []string
	err := s.do(ctx, "scan", func(ctx context.Context) (err error) {
		keys, err = s.client.HKeys(ctx, hash).Result()
		return err
	})
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return key < string(from) })
	slices.Sort(keys)
	for n := firstPage; len(keys) > 0; {
		n = min(n, len(keys))
		size, more, err := s.visitPage(ctx, hash, keys[:n], visit)
		if err != nil || !more {
			return err
		}
		keys = keys[n:]
		n = max(1, min(2*n, n*pageBytes/max(size, 1), pageEntries))
	}
	return nil
}

// visitPage visits the entries of some keys, and returns how many bytes they
// have and whether the scan goes on.
func (s *Store) visitPage(
	ctx context.Context, hash string, keys []string, visit func(*kv.Entry) bool,
) (size int, more bool, err error) {
	var page []any
	err = s.do(ctx, "scan", func(ctx context.Context) (err error) {
		page, err = s.client.HMGet(ctx, hash, keys...).Result()
		return err
	})
	if err != nil {
		return 0, false, err
	}
	for i, data := range page {
		text, ok := data.(string)
		if !ok {
			// Entries are replaced, never removed: what the server has lost
			// must not look like the end of the partition.
			return 0, false, s.explain("scan", fmt.Errorf("%w: entries vanished during a scan", kv.ErrUnavailable))
		}
		size += len(text)
		e, err := kv.ParseEntry([]byte(text))
		if err != nil {
			return 0, false, fmt.Errorf("scan: key %q: %w", keys[i], err)
		}
		e.Key = []byte(keys[i])
		if !visit(&e) {
			return size, false, nil
		}
	}
	return size, true, nil
}
