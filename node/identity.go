package node

import (
	"context"
	"encoding/json"
	"errors"
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
	data, err := meta.LoadMeta(ctx, identityName)
	if errors.Is(err, kv.ErrNotFound) {
		return fresh.Storage, saveIdentity(ctx, meta, fresh)
	}
	if err != nil {
		return 0, fmt.Errorf("load the storage identity: %w", err)
	}
	var known identity
	if err := json.Unmarshal(data, &known); err != nil {
		return 0, fmt.Errorf("load the storage identity: %w: %w", kv.ErrCorrupt, err)
	}
	if known.Node != name {
		return 0, fmt.Errorf("%w: it belongs to %q, and this is %q; start the node under that name, or give it a store of its own",
			ErrForeignStore, known.Node, name)
	}
	return known.Storage, nil
}

func saveIdentity(ctx context.Context, meta kv.Metadata, id identity) error {
	data, err := json.Marshal(id)
	if err == nil {
		err = meta.SaveMeta(ctx, identityName, data)
	}
	if err != nil {
		return fmt.Errorf("save the storage identity: %w", err)
	}
	return nil
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
	if err := meta.SaveMeta(ctx, promisesName, []byte("[]")); err != nil {
		return fmt.Errorf("empty the store: %w", err)
	}
	return saveIdentity(ctx, meta, identity{Node: name, Storage: rand.Uint64()})
}
