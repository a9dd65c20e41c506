package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
)

// What a node keeps in mind beside the entries of its store, as JSON: each fact
// under a name. what says in errors what it is.

// loadFact reads a fact into v, and reports whether there is one.
func loadFact(ctx context.Context, meta kv.Metadata, name, what string, v any) (bool, error) {
	data, err := meta.LoadMeta(ctx, name)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("load %s: %w", what, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("load %s: %w: %w", what, kv.ErrCorrupt, err)
	}
	return true, nil
}

// saveFact replaces a fact.
func saveFact(ctx context.Context, meta kv.Metadata, name, what string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = meta.SaveMeta(ctx, name, data)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", what, err)
	}
	return nil
}
