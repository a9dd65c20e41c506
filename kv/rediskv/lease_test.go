package rediskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// record is a log that a test reads.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.buf.String(), text)
}

// until fails the test where something does not become true.
func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	err := eventually(func() error {
		if !check() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("it does not happen that %s", what)
	}
}

// TestLeaseHeld: a namespace in use is refused, and the error names its holder;
// the holder keeps it, and once closed others have it at once.
func TestLeaseHeld(t *testing.T) {
	t.Parallel()
	host, _ := os.Hostname()
	for _, url := range []string{commonServer(t).url(), commonCluster(t)} {
		name := newNamespace()
		first := open(t, url, Options{Namespace: name, lease: time.Hour})
		refused(t, url, Options{Namespace: name, Patience: time.Second}, "given up after 1s: in use by another process ("+host+" pid ")
		put(t, first, kv.Entry{Key: []byte("k"), Version: at(1)})
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, url, Options{Namespace: name})
	}
}

// TestLeaseRenewed: a lease outlasts what it was taken for.
func TestLeaseRenewed(t *testing.T) {
	t.Parallel()
	url, name := commonServer(t).url(), newNamespace()
	open(t, url, Options{Namespace: name, lease: time.Second})
	refused(t, url, Options{Namespace: name, Patience: 1500 * time.Millisecond}, "in use by another process")
}

// TestLeaseLapses: the namespace of a process that was killed is waited for.
func TestLeaseLapses(t *testing.T) {
	t.Parallel()
	name := newNamespace()
	dead := open(t, commonServer(t).url(), Options{Namespace: name, lease: 300 * time.Millisecond})
	dead.lease.stop() // it is not renewed, and not given back
	open(t, commonServer(t).url(), Options{Namespace: name})
}

// TestLeaseRace: of many that open a namespace at once one gets it.
func TestLeaseRace(t *testing.T) {
	t.Parallel()
	url, name := commonServer(t).url(), newNamespace()
	var group sync.WaitGroup
	opened := make(chan *Store, 8)
	for range cap(opened) {
		group.Go(func() {
			s, err := Open(context.Background(), url, Options{Namespace: name, Patience: 2 * time.Second})
			if err == nil {
				opened <- s
			}
		})
	}
	group.Wait()
	if len(opened) != 1 {
		t.Errorf("%d have it", len(opened))
	}
	for range len(opened) {
		(<-opened).Close()
	}
}

// TestLeaseLost: a store whose namespace another process has taken does not
// touch that again, and says so.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	server, log := commonServer(t), &record{}
	s := open(t, server.url(), Options{
		Namespace: newNamespace(), lease: 300 * time.Millisecond, Logger: hclog.New(&hclog.LoggerOptions{Output: log}),
	})
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	key := s.layout.root + "lease"
	server.command(t, "SET", key, "somebody else")
	until(t, "the loss is logged", func() bool { return log.has("another process has taken this node's namespace") })
	for name, err := range map[string]error{
		"Apply":    s.Apply(context.Background(), []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil),
		"SaveMeta": s.SaveMeta(context.Background(), "name", nil),
		"Get":      func() error { _, err := s.Get(context.Background(), []byte("k"), nil); return err }(),
	} {
		if !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := server.command(t, "GET", key).Val(); got != "somebody else" {
		t.Errorf("the lease of the other is now %v", got)
	}
}

// TestLeaseLapsed: a store that was away for longer than its lease asks before
// it writes, and finds that another has the namespace.
func TestLeaseLapsed(t *testing.T) {
	t.Parallel()
	server := commonServer(t)
	name := newNamespace()
	asleep := open(t, server.url(), Options{Namespace: name, lease: 300 * time.Millisecond})
	put(t, asleep, kv.Entry{Key: []byte("k"), Version: at(1)})
	asleep.lease.stop()
	open(t, server.url(), Options{Namespace: name})
	if err := asleep.Apply(context.Background(), []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("Apply without the lease: %v", err)
	}
}

// TestLeaseFenced: what is written by a process that was away for just as long
// as another needed to take its namespace does not reach that.
func TestLeaseFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := commonServer(t)
	for name, write := range map[string]func(*Store) error{
		"Apply":    func(s *Store) error { return s.Apply(ctx, []kv.Entry{{Key: []byte("k"), Version: at(2)}}, nil) },
		"SaveMeta": func(s *Store) error { return s.SaveMeta(ctx, "name", []byte("new")) },
		"Expire":   func(s *Store) error { _, err := s.Expire(ctx, 2000, 10); return err },
		"Purge":    func(s *Store) error { return s.Purge(ctx, []kv.Ref{{Key: []byte("k"), Version: at(1)}}, nil) },
	} {
		s := open(t, server.url(), Options{Partitions: 1, lease: time.Hour})
		put(t, s, kv.Entry{Key: []byte("k"), Version: at(1), Expires: 1000})
		state := func() string {
			entry := server.command(t, "HGET", s.layout.hash(0), "k").Val()
			return fmt.Sprint(entry, server.command(t, "HGETALL", s.layout.root+"meta").Val())
		}
		before := state()
		server.command(t, "SET", s.layout.root+"lease", "somebody else") // while s is sure of it
		if err := write(s); !errors.Is(err, kv.ErrUnavailable) || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", name, err)
		}
		if state() != before {
			t.Errorf("%s wrote into a namespace that another process has taken", name)
		}
	}
}

// TestLeaseTakenAgain: where only the lease is gone, it is taken anew, at once
// before a call that would go on without.
func TestLeaseTakenAgain(t *testing.T) {
	t.Parallel()
	server := commonServer(t)
	s := open(t, server.url(), Options{lease: 300 * time.Millisecond})
	key := s.layout.root + "lease"
	server.command(t, "DEL", key)
	until(t, "the lease is taken again", func() bool { return server.command(t, "EXISTS", key).Val() == int64(1) })
	s.lease.stop()
	until(t, "the lease lapses", func() bool { return server.command(t, "EXISTS", key).Val() == int64(0) })
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(1)})
	if server.command(t, "EXISTS", key).Val() != int64(1) {
		t.Error("a call went on without the lease")
	}
	server.command(t, "DEL", key) // while the store is sure of it
	put(t, s, kv.Entry{Key: []byte("k"), Version: at(2)})
	if server.command(t, "EXISTS", key).Val() != int64(1) {
		t.Error("a write went on without the lease")
	}
}
