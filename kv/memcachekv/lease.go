package memcachekv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/thunderdb/thunderdb/kv"
)

// A lease is an item on each server that says which process uses the
// namespace. Memcached counts in seconds, so it may lapse one second early.
const (
	leaseSeconds = 6
	leaseTrusted = (leaseSeconds - 2) * time.Second // after it was renewed
	renewEvery   = 1500 * time.Millisecond
)

// newHolder returns what a lease says of this process. No two are the same.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s (%s)", os.Getpid(), host, rand.Text()[:13])
}

// check makes sure that the server which the session leads to has this store's
// lease, which it renews, and mark. The error is ErrUnavailable where it does
// and never will again; any other may pass.
func (srv *server) check(ctx context.Context, s *session) error {
	select {
	case srv.checking <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for a check: %w", ctx.Err())
	}
	defer func() { <-srv.checking }()
	st := srv.store
	begun := st.since()
	items, err := s.client.GetMulti([]string{st.names.lease, st.names.mark})
	if err != nil {
		return err
	}
	again, err := srv.renew(s, items[st.names.lease])
	if err != nil {
		return err
	}
	if srv.index == 0 {
		if err := srv.keepRecord(s, again); err != nil {
			return err
		}
	}
	if err := srv.keepMark(ctx, s, items[st.names.mark]); err != nil {
		return err
	}
	srv.trusted.Store(int64(begun + leaseTrusted))
	return nil
}

// renew renews the lease, given what was found in its place. It reports whether
// it had lapsed.
func (srv *server) renew(s *session, found *memcache.Item) (again bool, err error) {
	st := srv.store
	for range 3 {
		w := write{name: st.names.lease, data: []byte(st.holder), ttl: leaseSeconds}
		if found != nil {
			w.cas = found.CasID
			if string(found.Value) != st.holder {
				return again, st.lose(fmt.Sprintf("%s has taken the namespace on %s", found.Value, srv.addr))
			}
		}
		again = again || found == nil
		err := s.storeOne(&w)
		if errors.Is(err, kv.ErrFull) && found != nil {
			// A full server that evicts nothing has no room to replace it.
			return again, s.client.Touch(st.names.lease, leaseSeconds)
		}
		if err != nil || !w.lost {
			return again, err
		}
		if found, err = s.get(st.names.lease); err != nil {
			return again, err
		}
	}
	return again, errors.New("the lease changes all the time")
}

// keepMark compares the server's mark with the one it should have, and gives it
// a new one where they differ, for the entries there are lost, or are not those
// that this store left there; or where they are to be dropped. The record learns
// of it first, so that the old mark does not count any more when it comes back.
func (srv *server) keepMark(ctx context.Context, s *session, found *memcache.Item) error {
	st, old := srv.store, *srv.mark.Load()
	kept := found != nil && string(found.Value) == st.markItem(old)
	if kept && !srv.spent.Load() {
		return nil
	}
	mark := newMark()
	st.setMark(srv.index, mark)
	var err error
	if srv.index == 0 {
		err = srv.writeRecord(s)
	} else {
		err = st.servers[0].do(ctx, st.servers[0].writeRecord)
	}
	if err != nil {
		return err
	}
	w := write{name: st.names.mark, data: []byte(st.markItem(mark))}
	if found != nil {
		w.cas = found.CasID
	}
	if err := s.storeOne(&w); err != nil {
		return fmt.Errorf("put a mark there: %w", err)
	}
	if w.lost {
		return errors.New("the mark changes while it is put there")
	}
	srv.spent.Store(false) // before anything is written under the new mark
	srv.mark.Store(&mark)
	srv.epoch.Add(1)
	if kept {
		st.logger.Info("what a Memcached server held of this node is given up, as the node asked", "server", srv.addr)
	} else if old != "" {
		st.logger.Warn("a Memcached server has lost its entries, or is another one: it begins anew", "server", srv.addr)
	} else if found != nil {
		st.logger.Warn("what a Memcached server held of this node is given up, for metadata are lost", "server", srv.addr)
	}
	return nil
}

// markItem returns what the item of a mark holds: the mark and the list of
// servers that it was put there for.
func (st *Store) markItem(mark string) string { return mark + " " + strings.Join(st.addrs, ",") }

// checkList refuses a server that has entries of this namespace which were
// spread over other servers than these, or in another order. The first server's
// record says the same, but there another one may be the first.
func (srv *server) checkList(ctx context.Context) error {
	st := srv.store
	return srv.openly(ctx, func(s *session) error {
		found, err := s.get(st.names.mark)
		if err != nil || found == nil {
			return err
		}
		if _, list, _ := strings.Cut(string(found.Value), " "); list != strings.Join(st.addrs, ",") {
			return st.errList(srv, list)
		}
		return nil
	})
}

func (st *Store) errList(srv *server, list string) error {
	return refuse("namespace %q on %s: the entries are spread over %s, not over %s: list those in that order, or "+
		"to begin anew without what they hold delete the items %s and %s on each",
		st.opts.Namespace, srv.addr, list, strings.Join(st.addrs, ","), st.names.record, st.names.mark)
}

// openly calls fn with a session that need not be this store's yet.
func (srv *server) openly(ctx context.Context, fn func(*session) error) error {
	return srv.retry(ctx, maxAttempts, func() error {
		return srv.with(ctx, func(s *session) error {
			s.dial, s.epoch = true, unchecked
			defer func() { s.dial = false }()
			return fn(s)
		})
	})
}

// lose ends the use of a namespace that another process has, and returns the
// error of all later calls.
func (st *Store) lose(why string) error {
	err := fmt.Errorf("%w: namespace %q: %s", kv.ErrUnavailable, st.opts.Namespace, why)
	if st.lost.CompareAndSwap(nil, &err) {
		st.logger.Error("the store is lost to another process, restart this one", "namespace", st.opts.Namespace, "why", why)
	}
	return *st.lost.Load()
}

// acquire takes the lease of a server, waiting while a process has it that
// shows no life.
func (srv *server) acquire(ctx context.Context) error {
	st := srv.store
	var first *memcache.Item
	for {
		var found *memcache.Item
		err := srv.openly(ctx, func(s *session) (err error) {
			found, err = takeLease(s, st.names.lease, st.holder)
			return err
		})
		switch {
		case err == nil && found == nil:
			return nil
		case err != nil && ctx.Err() != nil:
			return err
		case err == nil && string(found.Value) == st.holder:
			return fmt.Errorf("%s is a server that is listed under another address as well", srv.addr)
		case err == nil && first != nil && found.CasID != first.CasID: // it was renewed
			return st.inUse(srv, found)
		case err == nil && first == nil:
			first = found
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			if err != nil {
				return err
			}
			return st.inUse(srv, found)
		}
	}
}

func (st *Store) inUse(srv *server, lease *memcache.Item) error {
	return fmt.Errorf("namespace %q on %s is in use by %s", st.opts.Namespace, srv.addr, lease.Value)
}

// takeLease adds a lease, or returns the one that is there.
func takeLease(s *session, name, holder string) (*memcache.Item, error) {
	for range 3 {
		found, err := s.get(name)
		if err != nil || found != nil {
			return found, err
		}
		w := write{name: name, data: []byte(holder), ttl: leaseSeconds}
		if err := s.storeOne(&w); err != nil || !w.lost {
			return nil, err
		}
	}
	return nil, errors.New("the lease comes and goes")
}

// release gives the lease of a server up, where this store has it.
func (srv *server) release(ctx context.Context) error {
	st := srv.store
	return srv.openly(ctx, func(s *session) error {
		found, err := s.get(st.names.lease)
		if err != nil || found == nil || string(found.Value) != st.holder {
			return err
		}
		return s.storeOne(&write{name: st.names.lease, cas: found.CasID, ttl: -1})
	})
}

// watch renews the lease of a server and looks after its mark, until ctx ends
// or the namespace is lost.
func (srv *server) watch(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := srv.checkNow(ctx)
		switch {
		case ctx.Err() != nil || srv.store.lost.Load() != nil:
			return
		case err != nil && !away:
			srv.store.logger.Warn("a Memcached server does not answer", "server", srv.addr, "error", err)
		case err == nil && away:
			srv.store.logger.Info("a Memcached server answers again", "server", srv.addr)
		}
		away = err != nil
	}
}

// checkNow is a check of one connection.
func (srv *server) checkNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, srv.store.timeout)
	defer cancel()
	return srv.do(ctx, func(s *session) error { return srv.check(ctx, s) })
}
