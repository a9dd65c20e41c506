package memcachekv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/kv"
)

var (
	_ kv.Store       = (*Store)(nil)
	_ kv.Metadata    = (*Store)(nil)
	_ kv.BatchGetter = (*Store)(nil)
	_ kv.Evictor     = (*Store)(nil)
	_ kv.Purger      = (*Store)(nil)
	_ kv.Forgetter   = (*Store)(nil)
)

const (
	// minItem is the least that a server must take as an item, for metadata.
	minItem = 128 << 10
	// itemOverhead is what an item has beside a value at most: Memcached's own
	// 56 bytes and its key, and a key of 1024 bytes, a content type, and the
	// rest of an entry.
	itemOverhead = 4 << 10
)

// Options configures a [Store].
type Options struct {
	// Namespace is whose entries these are: the node's name. Nodes that share
	// servers must differ in it.
	Namespace string
	// Patience is how long Open waits for the servers, and for a lease that a
	// killed process has left to lapse; 0 means 10 s.
	Patience time.Duration
	// Timeout bounds a call with its retries where its context has no earlier
	// deadline; 0 means 3 s. A third of it is how long a server may take for
	// one answer.
	Timeout time.Duration
	// Logger is told what does not work and what was lost; nil means nobody.
	Logger hclog.Logger
}

// Store is a [kv.Store] in Memcached servers. See the package for what may be
// lost. While a server does not answer, calls that need it return
// [kv.ErrUnavailable] within their time, and others go on; when it answers
// again, so do they.
type Store struct {
	opts     Options
	timeout  time.Duration
	logger   hclog.Logger
	addrs    []string
	servers  []*server
	names    names
	holder   string // what its leases say
	maxValue int
	spare    bool // whether the first server needs one, see storeRecord
	start    time.Time
	watching func()                // ends what watches the leases, and waits for it
	lost     atomic.Pointer[error] // once another process has the namespace

	callsMu sync.Mutex // guards closed, and calls against waiting while it grows
	closed  bool
	calls   sync.WaitGroup

	recordMu sync.Mutex // guards record; its slices and maps are replaced, not changed
	record   record
	written  atomic.Uint64 // Number of the record that was last stored or read
}

// Evicts implements [kv.Evictor]: servers drop entries when they are full, and
// when they are restarted, also those that run with -M.
func (st *Store) Evicts() bool { return true }

// names are the keys of the items that every server, or the first, has beside
// entries.
type names struct {
	lease, mark, record, spare string
}

// Open returns the store of a namespace in the servers that url lists, as
// memcached://host:port[,host:port...]. It waits up to opts.Patience for them,
// and for the lease of a process that was killed. It starts goroutines that
// renew leases; Close ends them.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	st, err := newStore(url, opts)
	if err != nil {
		return nil, err
	}
	if err := st.open(ctx); err != nil {
		return nil, fmt.Errorf("open memcached store: %w", err)
	}
	st.watch()
	return st, nil
}

func newStore(url string, opts Options) (*Store, error) {
	addrs, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if opts.Patience == 0 {
		opts.Patience = 10 * time.Second
	}
	if opts.Timeout == 0 {
		opts.Timeout = 3 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	st := &Store{
		opts: opts, timeout: opts.Timeout, logger: opts.Logger, addrs: addrs,
		holder: newHolder(), start: time.Now(),
	}
	ns := []byte(opts.Namespace)
	st.names.lease, _ = itemKey("thunderdb:lease", ns)
	st.names.mark, _ = itemKey("thunderdb:mark", ns)
	st.names.record, _ = itemKey("thunderdb:record", ns)
	st.names.spare, _ = itemKey("thunderdb:spare", ns)
	for i, addr := range addrs {
		st.servers = append(st.servers, newServer(st, i, addr))
	}
	return st, nil
}

// open makes the servers this store's own, or leaves no trace of it.
func (st *Store) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, st.opts.Patience)
	defer cancel()
	evicts, err := st.probe(ctx)
	if err != nil {
		return err
	}
	for i, srv := range st.servers {
		if err := srv.acquire(ctx); err != nil {
			st.leave(st.servers[:i])
			return err
		}
	}
	if err := st.take(ctx); err != nil {
		st.leave(st.servers)
		return err
	}
	st.logger.Warn("entries are kept in Memcached: no listing, export, snapshot, hand-over, repair or counts",
		"servers", st.addrs, "evicts", evicts, "max_value", st.maxValue)
	return nil
}

// take reads what there is of the namespace, whose leases the store has.
func (st *Store) take(ctx context.Context) error {
	for _, srv := range st.servers {
		if err := srv.checkList(ctx); err != nil {
			return err
		}
	}
	if err := st.readRecord(ctx); err != nil {
		return err
	}
	home := st.servers[0]
	if err := home.do(ctx, home.writeRecord); err != nil { // so that it says whose it is
		return err
	}
	for _, srv := range st.servers {
		if err := srv.checkNow(ctx); err != nil {
			return err
		}
	}
	return nil
}

// probe asks all servers what they are, and returns which of them evict, for
// the log.
func (st *Store) probe(ctx context.Context) (evicts string, err error) {
	found := make([]settings, len(st.servers))
	group, ctx := errgroup.WithContext(ctx)
	for i, addr := range st.addrs {
		group.Go(func() (err error) {
			if found[i], err = probe(ctx, addr, st.timeout); err != nil {
				return fmt.Errorf("memcached %s: %w", addr, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	var evicting []string
	smallest := found[0].maxItem
	for i, set := range found {
		smallest = min(smallest, set.maxItem)
		if set.evicts {
			evicting = append(evicting, st.addrs[i])
		}
	}
	st.maxValue, st.spare = smallest-itemOverhead, !found[0].evicts
	switch len(evicting) {
	case 0:
		return "no (-M): writes to a full server are refused", nil
	case len(st.addrs):
		return "yes", nil
	}
	return "by " + strings.Join(evicting, ", "), nil
}

// watch starts what renews the leases.
func (st *Store) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, srv := range st.servers {
		group.Go(func() { srv.watch(ctx) })
	}
	st.watching = func() {
		cancel()
		group.Wait()
	}
}

// MaxValue returns how many bytes the largest value has that the store takes
// under any key and content type.
func (st *Store) MaxValue() int { return st.maxValue }

// begin opens a call. The error is ErrClosed, or that of a store which was
// lost to another process.
func (st *Store) begin() error {
	st.callsMu.Lock()
	defer st.callsMu.Unlock()
	if st.closed {
		return kv.ErrClosed
	}
	if err := st.lost.Load(); err != nil {
		return *err
	}
	st.calls.Add(1)
	return nil
}

func (st *Store) end() { st.calls.Done() }

// Close implements [kv.Store]. It gives the namespace up, unless a server does
// not answer in time: there the lease lapses by itself.
func (st *Store) Close() error {
	st.callsMu.Lock()
	closed := st.closed
	st.closed = true
	st.callsMu.Unlock()
	if closed {
		return kv.ErrClosed
	}
	st.watching()
	st.calls.Wait()
	st.leave(st.servers)
	return nil
}

// leave releases the leases of servers, and closes all connections.
func (st *Store) leave(servers []*server) {
	ctx, cancel := context.WithTimeout(context.Background(), st.timeout/3)
	defer cancel()
	var group sync.WaitGroup
	for _, srv := range servers {
		group.Go(func() {
			err := srv.release(ctx)
			if err != nil && st.lost.Load() == nil {
				st.logger.Warn("a lease is left to lapse", "error", err)
			}
		})
	}
	group.Wait()
	for _, srv := range st.servers {
		srv.close()
	}
}

// since returns the time since the store's start, which no clock change moves.
func (st *Store) since() time.Duration { return time.Since(st.start) }

// server returns where a key belongs.
func (st *Store) server(key []byte) *server {
	return st.servers[kv.Partition(key, len(st.servers))]
}

// worse returns the one of two errors that says more of what to do.
func worse(a, b error) error {
	if a == nil || errors.Is(b, kv.ErrUnavailable) && !errors.Is(a, kv.ErrUnavailable) {
		return b
	}
	return a
}
