package node

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// identityName is what a storage identity is saved under.
const identityName = "identity"

// identity is what a store remembers of the node whose entries it holds.
type identity struct {
	Node    string `json:"node"`
	Storage uint64 `json:"storage"`
}

// storageIdentity returns the number that stands for this store in the stamps
// of its node's writes: the one that it remembers, or, where it is new, one
// that it shall. A store that remembers nothing has a new one each time. The
// error is ErrForeignStore where the store is another node's: with its entries
// this node would serve what that one has long replaced.
func storageIdentity(ctx context.Context, meta kv.Metadata, name string) (uint64, error) {
	fresh := identity{Node: name, Storage: rand.Uint64()}
	if meta == nil {
		return fresh.Storage, nil
	}
	var known identity
	switch found, err := loadFact(ctx, meta, identityName, "the storage identity", &known); {
	case err != nil:
		return 0, err
	case !found:
		return fresh.Storage, saveIdentity(ctx, meta, fresh)
	}
	if known.Node != name {
		return 0, fmt.Errorf("%w: it belongs to %q, and this is %q; start the node under that name, or give it a store of its own",
			ErrForeignStore, known.Node, name)
	}
	return known.Storage, nil
}

func saveIdentity(ctx context.Context, meta kv.Metadata, id identity) error {
	return saveFact(ctx, meta, identityName, "the storage identity", id)
}

// Reset makes a store be another than it was: its entries and what it knows of
// the cluster are gone, and the node that is started over it next has a new
// storage identity. It is for a store whose identity was taken out of the ring,
// which never takes part again.
func Reset(ctx context.Context, store kv.Store, name string, partitions int) error {
	if partitions == 0 {
		partitions = kv.DefaultPartitions
	}
	if err := kv.EmptyAll(ctx, store, partitions); err != nil {
		return fmt.Errorf("empty the store: %w", err)
	}
	meta, ok := store.(kv.Metadata)
	if !ok {
		return nil
	}
	for _, name := range []string{promisesName, horizonsName} {
		if err := meta.SaveMeta(ctx, name, []byte("[]")); err != nil {
			return fmt.Errorf("empty the store: %w", err)
		}
	}
	return saveIdentity(ctx, meta, identity{Node: name, Storage: rand.Uint64()})
}
