package rediskv

import (
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	full := places{url: newServer(t, "--maxmemory", "8mb").url()}
	p := places{url: commonServer(t).url()}
	kvtest.Config{Slow: true, OpenFull: full.open, Reopen: p.reopen}.Run(t, p.open)
}

func TestClusterConformance(t *testing.T) {
	t.Parallel()
	p := places{url: commonCluster(t)}
	kvtest.Config{Slow: true, Reopen: p.reopen}.Run(t, p.open)
}

// TestOnePartition runs the suite where all keys share a hash.
func TestOnePartition(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite for the third time")
	}
	t.Parallel()
	p := places{url: commonServer(t).url(), partitions: 1}
	kvtest.Config{Slow: true, Partitions: 1, Reopen: p.reopen}.Run(t, p.open)
}

// places is where the stores of a suite are.
type places struct {
	url        string
	partitions int
	names      sync.Map // namespaces by *Store
}

func (p *places) open(t *testing.T) kv.Store {
	t.Helper()
	return p.openName(t, newNamespace())
}

func (p *places) openName(t *testing.T, name string) *Store {
	t.Helper()
	s := open(t, p.url, Options{Namespace: name, Partitions: p.partitions})
	p.names.Store(s, name)
	return s
}

func (p *places) reopen(t *testing.T, store kv.Store) kv.Store {
	t.Helper()
	name, _ := p.names.Load(store)
	if err := store.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	return p.openName(t, name.(string))
}
