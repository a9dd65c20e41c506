package node

import (
	"context"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
)

// A store that cannot list its entries keeps those of partitions that have
// moved away. Should one of these come back, they are out of date: so the node
// remembers which partitions it once held, and has the store forget everything
// when one of them returns. For a cache that is but a miss.

// outdatedName is what these partitions are saved under in the node's store.
const outdatedName = "outdated"

// leaveOutdated remembers that entries of partitions stay behind.
func leaveOutdated(ctx context.Context, store kv.Store, partitions []int) error {
	meta, ok := store.(kv.Metadata)
	if !ok {
		return nil
	}
	known, err := outdated(ctx, meta)
	if err != nil {
		return err
	}
	all := slices.Concat(known, partitions)
	slices.Sort(all)
	return saveOutdated(ctx, meta, slices.Compact(all))
}

// forgetOutdated makes sure that nothing old is left of partitions.
func forgetOutdated(ctx context.Context, store kv.Store, partitions []int) error {
	meta, ok := store.(kv.Metadata)
	forgetter, forgets := store.(kv.Forgetter)
	if !ok || !forgets {
		return nil
	}
	known, err := outdated(ctx, meta)
	if err != nil || !slices.ContainsFunc(partitions, func(p int) bool { return slices.Contains(known, p) }) {
		return err
	}
	if err := forgetter.Forget(ctx); err != nil {
		return err
	}
	return saveOutdated(ctx, meta, []int{})
}

func outdated(ctx context.Context, meta kv.Metadata) (known []int, err error) {
	_, err = loadFact(ctx, meta, outdatedName, "the outdated partitions", &known)
	return known, err
}

func saveOutdated(ctx context.Context, meta kv.Metadata, partitions []int) error {
	return saveFact(ctx, meta, outdatedName, "the outdated partitions", partitions)
}
