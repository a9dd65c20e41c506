package memcachekv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
)

// A flight is what is read, and then written, at once. Its bounds keep what is
// in memory small, where all the old values are large as well.
const (
	maxFlight      = 64        // keys
	maxFlightBytes = 512 << 10 // of new values, unless it is only one
)

// change is what a batch does to one key.
type change struct {
	entries []*kv.Entry // of the key, in their order
	indices []int       // of those in the batch
	key     []byte

	name   string
	hashed bool
	write  write
	newest *kv.Entry    // of entries, where one supersedes what is there; else nil
	done   []kv.Applied // what was and is held, for each of entries
	err    error        // ErrTooLarge or ErrFull, for some of entries
}

// Apply implements [kv.Store]. Where several entries have the same key only the
// last one that wins is written. An entry that is refused as too large, or that
// there is no room for, does not keep Apply from the others; neither does a
// server that does not answer from those of another one.
func (st *Store) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	clear(done)
	if err := st.begin(); err != nil {
		return err
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	if len(entries) == 1 {
		e := &entries[0]
		c := &change{entries: []*kv.Entry{e}, indices: []int{0}, key: e.Key}
		err := st.server(e.Key).apply(ctx, []*change{c})
		return worse(err, c.report(done))
	}
	b := batch{store: st, done: done, down: make([]bool, len(st.servers))}
	var group errgroup.Group
	group.SetLimit(maxWorkers)
	for at, changes := range st.changes(entries) {
		for flight := range flights(changes) {
			group.Go(func() error {
				b.apply(ctx, at, flight)
				return nil
			})
		}
	}
	_ = group.Wait()
	return b.failed
}

// batch is what the flights of one Apply have in common.
type batch struct {
	store *Store

	mu     sync.Mutex // guards what follows
	done   []kv.Applied
	failed error
	down   []bool // by server: it was waited for once, and did not answer
}

// apply makes a flight's changes on a server.
func (b *batch) apply(ctx context.Context, at int, flight []*change) {
	b.mu.Lock()
	down := b.down[at]
	b.mu.Unlock()
	if down {
		return
	}
	err := b.store.servers[at].apply(ctx, flight)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down[at] = b.down[at] || err != nil
	b.failed = worse(b.failed, err)
	for _, c := range flight {
		b.failed = worse(b.failed, c.report(b.done))
	}
}

// changes returns the changes that entries mean, by server.
func (st *Store) changes(entries []kv.Entry) [][]*change {
	byServer := make([][]*change, len(st.servers))
	all := make([]change, len(entries)) // room for as many keys
	ofKey := make(map[string]*change, len(entries))
	for i := range entries {
		e := &entries[i]
		c, ok := ofKey[string(e.Key)]
		if !ok {
			c = &all[i]
			c.key = e.Key
			ofKey[string(e.Key)] = c
			at := st.server(e.Key).index
			byServer[at] = append(byServer[at], c)
		}
		c.entries, c.indices = append(c.entries, e), append(c.indices, i)
	}
	return byServer
}

// flights cuts changes into what is done at once.
func flights(changes []*change) func(yield func([]*change) bool) {
	return func(yield func([]*change) bool) {
		for len(changes) > 0 {
			n, size := 0, 0
			for n < len(changes) && n < maxFlight && (n == 0 || size < maxFlightBytes) {
				for _, e := range changes[n].entries {
					size += len(e.Value)
				}
				n++
			}
			if !yield(changes[:n:n]) {
				return
			}
			changes = changes[n:]
		}
	}
}

// apply makes changes, of different keys, on one server. It reads what is
// there, and writes what is newer where it is still so, until no change has
// lost that race.
func (srv *server) apply(ctx context.Context, changes []*change) error {
	for round := 0; ; round++ {
		err := srv.do(ctx, func(s *session) error {
			left, err := srv.try(s, changes)
			changes = left
			return err
		})
		if err != nil || len(changes) == 0 {
			return err
		}
		if err := pause(ctx, rand.N(time.Millisecond<<min(round, 5))); err != nil {
			return fmt.Errorf("%w: memcached %s: %d writes of one key at once: %w", kv.ErrUnavailable, srv.addr, round, err)
		}
	}
}

// try makes changes, and returns those that it did not.
func (srv *server) try(s *session, changes []*change) (left []*change, err error) {
	mark := *srv.mark.Load()
	for _, c := range changes {
		c.name, c.hashed = itemKey(mark, c.key)
	}
	items, err := readItems(s, changes)
	if err != nil {
		return changes, err
	}
	var writes []*write
	for _, c := range changes {
		if c.consider(items[c.name], srv.store.maxValue); c.newest != nil {
			writes = append(writes, &c.write)
		}
	}
	if len(writes) > 0 {
		if err := s.store(writes); err != nil {
			for _, c := range changes {
				c.forget()
			}
			return changes, err
		}
	}
	for _, c := range changes {
		if c.newest != nil && c.write.lost {
			left = append(left, c)
		}
		c.finish(srv.addr)
	}
	return left, nil
}

// readItems returns the items of changes by name.
func readItems(s *session, changes []*change) (map[string]*memcache.Item, error) {
	if len(changes) == 1 {
		item, err := s.get(changes[0].name)
		return map[string]*memcache.Item{changes[0].name: item}, err
	}
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.name
	}
	return s.client.GetMulti(names)
}

// consider works out what is to be written where item is what is there, which
// may be nil.
func (c *change) consider(item *memcache.Item, maxValue int) {
	c.done, c.newest, c.err = c.done[:0], nil, nil
	c.write = write{name: c.name}
	now := &kv.Entry{}
	none := true
	if item != nil {
		c.write.cas = item.CasID
		if data, ok := openItem(item.Value, c.key, c.hashed); ok {
			version, deleted, err := kv.Rank(data)
			now.Version, now.Deleted = version, deleted
			none = err != nil // what nobody can read is replaced
		}
	}
	for _, e := range c.entries {
		switch {
		case !none && !e.Supersedes(now):
		case len(e.Value) > maxValue:
			c.err = fmt.Errorf("%w: a value of %d bytes, the limit is %d", kv.ErrTooLarge, len(e.Value), maxValue)
			c.done = append(c.done, kv.Applied{})
			continue
		default:
			c.done = append(c.done, kv.Applied{Held: e.Version, Was: now.Version})
			now, none, c.newest = e, false, e
			continue
		}
		c.done = append(c.done, kv.Applied{Held: now.Version, Was: now.Version})
	}
	if c.newest != nil {
		c.write.data = sealItem(c.newest, c.hashed)
	}
}

// finish takes what became of the write.
func (c *change) finish(addr string) {
	c.write.data = nil
	if c.newest == nil {
		return
	}
	if c.write.err != nil {
		c.err = fmt.Errorf("%w: memcached %s", c.write.err, addr)
	}
	if c.write.lost || c.write.err != nil {
		c.forget()
	}
}

// forget takes back what consider said, for nobody knows it any more.
func (c *change) forget() { clear(c.done) }

// report puts what was and is held where the batch wants it, and returns what
// kept some of it from being so.
func (c *change) report(done []kv.Applied) error {
	if done != nil && len(c.done) == len(c.indices) {
		for n, i := range c.indices {
			done[i] = c.done[n]
		}
	}
	return c.err
}
