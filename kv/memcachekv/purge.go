package memcachekv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
)

// removal is what a Purge does to one ref.
type removal struct {
	ref    *kv.Ref
	index  int // of the ref among those of the Purge
	write  write
	purged bool
}

// Purge implements [kv.Purger]. A server that does not answer does not keep it
// from those of another one. Where the answer to a removal is lost, it is tried
// again, and then says that it did not purge what is gone already.
func (st *Store) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	clear(purged)
	if err := st.begin(); err != nil {
		return err
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	all := make([]removal, len(refs))
	byServer := make([][]*removal, len(st.servers))
	for i := range refs {
		all[i] = removal{ref: &refs[i], index: i}
		at := st.server(refs[i].Key).index
		byServer[at] = append(byServer[at], &all[i])
	}
	var group errgroup.Group
	for at, removals := range byServer {
		group.Go(func() error {
			for flight := range slices.Chunk(removals, maxFlight) {
				if err := st.servers[at].purge(ctx, flight); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	for i := range purged {
		purged[i] = all[i].purged
	}
	return err
}

// purge makes removals on one server. It reads what is there, and removes what
// has the version where it is still so, until no removal has lost that race.
func (srv *server) purge(ctx context.Context, removals []*removal) error {
	for round := 0; ; round++ {
		err := srv.do(ctx, func(s *session) error {
			left, err := srv.tryPurge(s, removals)
			removals = left
			return err
		})
		if err != nil || len(removals) == 0 {
			return err
		}
		if err := pause(ctx, rand.N(time.Millisecond<<min(round, 5))); err != nil {
			return fmt.Errorf("%w: memcached %s: %d purges of one key at once: %w", kv.ErrUnavailable, srv.addr, round, err)
		}
	}
}

// tryPurge makes removals, and returns those that it did not.
func (srv *server) tryPurge(s *session, removals []*removal) (left []*removal, err error) {
	mark := *srv.mark.Load()
	names, hashed := make([]string, len(removals)), make([]bool, len(removals))
	for i, r := range removals {
		names[i], hashed[i] = itemKey(mark, r.ref.Key)
	}
	items, err := s.client.GetMulti(names)
	if err != nil {
		return removals, err
	}
	var due []*removal
	var writes []*write
	for i, r := range removals {
		if item := items[names[i]]; r.matches(item, hashed[i]) {
			r.write = write{name: names[i], cas: item.CasID, remove: true}
			due, writes = append(due, r), append(writes, &r.write)
		}
	}
	if len(writes) == 0 {
		return nil, nil
	}
	if err := s.store(writes); err != nil {
		return due, err
	}
	for _, r := range due {
		if r.purged = !r.write.lost; !r.purged {
			left = append(left, r)
		}
	}
	return left, nil
}

// matches reports whether an item, which may be nil, is the version to purge.
func (r *removal) matches(item *memcache.Item, hashed bool) bool {
	if item == nil {
		return false
	}
	data, ok := openItem(item.Value, r.ref.Key, hashed)
	if !ok {
		return false
	}
	version, _, err := kv.Rank(data)
	return err == nil && version == r.ref.Version
}

// Forget implements [kv.Forgetter]: it gives every server a new mark.
func (st *Store) Forget(ctx context.Context) error {
	if err := st.begin(); err != nil {
		return err
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	var group errgroup.Group
	for _, srv := range st.servers {
		srv.spent.Store(true)
		group.Go(func() error { return srv.checkNow(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("forget all entries: %w", err)
	}
	return nil
}
