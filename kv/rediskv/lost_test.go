package rediskv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// everyCall is a call of each method that asks the server for something.
func everyCall(s *Store) map[string]func() error {
	ctx := context.Background()
	key := []byte("k")
	return map[string]func() error{
		"Get":   func() error { _, err := s.Get(ctx, key, nil); return err },
		"Apply": func() error { return s.Apply(ctx, []kv.Entry{{Key: key, Version: at(2)}}, nil) },
		"Purge": func() error { return s.Purge(ctx, []kv.Ref{{Key: key, Version: at(1)}}, nil) },
		"GetBatch": func() error {
			errs := make([]error, 1)
			s.GetBatch(ctx, [][]byte{key}, make([]kv.Entry, 1), errs)
			return errs[0]
		},
		"Scan": func() error {
			return s.Scan(ctx, kv.Partition(key, s.layout.partitions), nil, func(*kv.Entry) bool { return true })
		},
		"LoadMeta": func() error { _, err := s.LoadMeta(ctx, "name"); return err },
		"SaveMeta": func() error { return s.SaveMeta(ctx, "name", nil) },
	}
}

// expectLost checks that a store is lost and stays so, and that the server has
// nothing of it that another store would take for its own.
func expectLost(t *testing.T, s *Store) {
	t.Helper()
	select {
	case <-s.Lost():
	case <-time.After(20 * time.Second):
		t.Fatal("the loss is not noticed")
	}
	for name, call := range everyCall(s) {
		if err := call(); !errors.Is(err, kv.ErrLost) || !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("%s of a store that is lost: %v", name, err)
		}
	}
	for _, key := range []string{"lease", "meta"} {
		if n, err := s.client.Exists(context.Background(), s.layout.root+key).Result(); n != 0 || err != nil {
			t.Errorf("%d of %s is there, %v", n, key, err)
		}
	}
}

// furnish gives a store an entry and a fact.
func furnish(t *testing.T, s *Store) {
	t.Helper()
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	if err := s.SaveMeta(context.Background(), "name", []byte("data")); err != nil {
		t.Fatal(err)
	}
}

// TestEmptied: where a server has lost everything and its connections are as
// they were, the first call of whatever kind says so, long before the lease is
// renewed; and nothing is written there any more.
func TestEmptied(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	names := everyCall(&Store{})
	for name := range names {
		log := &record{}
		s := open(t, server.url(), Options{
			Namespace: "n", Partitions: 5, lease: time.Hour, Logger: hclog.New(&hclog.LoggerOptions{Output: log}),
		})
		furnish(t, s)
		server.command(t, "FLUSHALL")
		if err := everyCall(s)[name](); !errors.Is(err, kv.ErrLost) {
			t.Errorf("%s where everything is lost: %v", name, err)
		}
		expectLost(t, s)
		if !log.has("redis has lost what it held") {
			t.Error("the loss is not logged")
		}
		if n := server.command(t, "DBSIZE").Val(); n != int64(0) {
			t.Errorf("%s: %v keys were written after the loss", name, n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s := open(t, server.url(), Options{Namespace: "n"}) // of another number of partitions
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
}

// TestEmptiedIdle: a loss is noticed also where nobody asks for anything.
func TestEmptiedIdle(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{lease: 300 * time.Millisecond})
	server.command(t, "FLUSHALL")
	expectLost(t, s)
}

// TestRestartedEmpty: the first answer of a server that has come back without
// its data is not believed, and the load that was under way sees nothing of it.
func TestRestartedEmpty(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{lease: time.Hour})
	l := startLoad(t, s, 200*time.Millisecond)
	l.more(t)
	server.kill()
	l.fails(t)
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	until(t, "a read reaches the server", func() bool {
		_, err := s.Get(context.Background(), []byte("w0"), nil)
		if err == nil || !errors.Is(err, kv.ErrUnavailable) {
			t.Fatalf("Get of what was lost: %v", err)
		}
		return errors.Is(err, kv.ErrLost)
	})
	close(l.done)
	l.group.Wait()
	expectLost(t, s)
}

// TestSetBack: a server that has come back as it was some time ago is not
// believed either, though it has entries and metadata.
func TestSetBack(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	for _, first := range []string{"Get", "GetBatch", "Scan", "LoadMeta", "Apply"} {
		name := newNamespace()
		s := open(t, server.url(), Options{Namespace: name, lease: time.Hour})
		furnish(t, s)
		server.command(t, "SAVE")
		if err := s.renew(context.Background(), func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		put(t, s, kv.Entry{Key: []byte("k"), Version: at(5)})
		server.kill()
		if err := server.start(); err != nil {
			t.Fatal(err)
		}
		if err := everyCall(s)[first](); !errors.Is(err, kv.ErrLost) {
			t.Errorf("%s of a server that was set back: %v", first, err)
		}
		expectLost(t, s)
		s.Close()
		again := open(t, server.url(), Options{Namespace: name})
		if _, err := again.LoadMeta(context.Background(), "name"); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("opened again, it has the metadata of before: %v", err)
		}
	}
}

// TestPartlyEmptied: a node of a Cluster that has lost what it held, or was set
// back, is noticed at once.
func TestPartlyEmptied(t *testing.T) {
	t.Parallel()
	url, ctx := commonCluster(t), context.Background()
	for first, gone := range map[string]bool{"Get": true, "GetBatch": true, "Scan": true, "Apply": true, "Purge": true, "": false} {
		lease := time.Hour
		if first == "" { // nobody asks
			lease = 300 * time.Millisecond
		}
		name := newNamespace()
		s := open(t, url, Options{Namespace: name, lease: lease})
		furnish(t, s)
		_, group := s.layout.place([]byte("k"))
		var err error
		if mark := s.guard(group); gone {
			err = s.client.Del(ctx, append(s.layout.books(group), mark, s.layout.hash(kv.Partition([]byte("k"), s.layout.partitions)))...).Err()
		} else {
			err = s.client.Set(ctx, mark, 0, 0).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		if first != "" {
			if err := everyCall(s)[first](); !errors.Is(err, kv.ErrLost) {
				t.Errorf("%s where a part is lost: %v", first, err)
			}
		}
		expectLost(t, s)
		s.Close()
	}
}

// TestPartlyEmptiedWhileClosed: what a node of a Cluster loses while nobody has
// the namespace is noticed when it is opened, and metadata go with it.
func TestPartlyEmptiedWhileClosed(t *testing.T) {
	t.Parallel()
	url, name, log := commonCluster(t), newNamespace(), &record{}
	ctx := context.Background()
	opts := Options{Namespace: name, Logger: hclog.New(&hclog.LoggerOptions{Output: log})}
	s := open(t, url, opts)
	furnish(t, s)
	s.Close()
	s = open(t, url, opts)
	if data, err := s.LoadMeta(ctx, "name"); string(data) != "data" || log.has("lost") {
		t.Fatalf("opened again without a loss, it has metadata %q, %v", data, err)
	}
	if err := s.client.Del(ctx, s.guard(7)).Err(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, url, opts)
	if _, err := s.LoadMeta(ctx, "name"); !errors.Is(err, kv.ErrNotFound) || !log.has("lost some entries") {
		t.Errorf("opened again after a loss, it has metadata, %v", err)
	}
	if err := s.SaveMeta(ctx, "name", []byte("data")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, url, opts)
	if _, err := s.LoadMeta(ctx, "name"); err != nil {
		t.Errorf("opened for the third time: %v", err)
	}
}

// TestAllKeysMissing: that a key was never there is an answer like any other.
func TestAllKeysMissing(t *testing.T) {
	t.Parallel()
	for _, url := range []string{commonServer(t).url(), commonCluster(t)} {
		s := open(t, url, Options{})
		keys := make([][]byte, 200)
		for i := range keys {
			keys[i] = fmt.Append(nil, i)
		}
		errs := make([]error, len(keys))
		s.GetBatch(context.Background(), keys, make([]kv.Entry, len(keys)), errs)
		for i, err := range errs {
			if !errors.Is(err, kv.ErrNotFound) {
				t.Fatalf("GetBatch of %s: %v", keys[i], err)
			}
		}
	}
}
