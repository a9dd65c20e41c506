package memcachekv

import (
	"context"
	"slices"

	"github.com/bradfitz/gomemcache/memcache"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// getKeys is how many keys are asked for at once.
	getKeys = 128
	// maxWorkers is how many connections a batch uses at once.
	maxWorkers = 4
)

// Get implements [kv.Store]. The error is ErrUnavailable while the key's server
// does not answer, and ErrCorrupt for an item that no store has written, which
// the next Apply replaces.
func (st *Store) Get(ctx context.Context, key, dst []byte) (kv.Entry, error) {
	if err := st.begin(); err != nil {
		return kv.Entry{}, err
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	srv := st.server(key)
	var item *memcache.Item
	var hashed bool
	err := srv.do(ctx, func(s *session) error {
		var name string
		name, hashed = itemKey(*srv.mark.Load(), key)
		var err error
		item, err = s.get(name)
		return err
	})
	if err != nil {
		return kv.Entry{}, err
	}
	return entryOf(item, key, dst, hashed)
}

// entryOf returns the entry of key in item, which is nil where there is none.
func entryOf(item *memcache.Item, key, dst []byte, hashed bool) (kv.Entry, error) {
	if item == nil {
		return kv.Entry{}, kv.ErrNotFound
	}
	data, ok := openItem(item.Value, key, hashed)
	if !ok {
		return kv.Entry{}, kv.ErrNotFound
	}
	e, err := kv.ParseEntry(data)
	if err != nil {
		return kv.Entry{}, err
	}
	e.Key, e.Value = key, append(dst[:0], e.Value...)
	return e, nil
}

// GetBatch implements [kv.BatchGetter].
func (st *Store) GetBatch(ctx context.Context, keys [][]byte, found []kv.Entry, errs []error) {
	if err := st.begin(); err != nil {
		for i := range keys {
			found[i], errs[i] = kv.Entry{}, err
		}
		return
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	where := make([][]int, len(st.servers)) // by server, indices of keys
	for i, key := range keys {
		at := st.server(key).index
		where[at] = append(where[at], i)
	}
	var group errgroup.Group
	group.SetLimit(maxWorkers)
	for at, indices := range where {
		for some := range slices.Chunk(indices, getKeys) {
			group.Go(func() error {
				st.servers[at].getSome(ctx, keys, some, found, errs)
				return nil
			})
		}
	}
	_ = group.Wait()
}

// getSome gets those of keys that indices say.
func (srv *server) getSome(ctx context.Context, keys [][]byte, indices []int, found []kv.Entry, errs []error) {
	names, hashed := make([]string, len(indices)), make([]bool, len(indices))
	var items map[string]*memcache.Item
	err := srv.do(ctx, func(s *session) (err error) {
		mark := *srv.mark.Load()
		for n, i := range indices {
			names[n], hashed[n] = itemKey(mark, keys[i])
		}
		items, err = s.client.GetMulti(names)
		return err
	})
	for n, i := range indices {
		if err != nil {
			found[i], errs[i] = kv.Entry{}, err
		} else {
			found[i], errs[i] = entryOf(items[names[n]], keys[i], nil, hashed[n])
		}
	}
}
