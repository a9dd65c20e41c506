package antientropy

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a replica in memory, which keeps its digests by Trees as a node does.
type fake struct {
	name       string
	partitions int
	page       int // entries of a page; 0: all
	getAtMost  int // keys of a Get that are answered; 0: all
	largest    int // bytes of a value that is taken; 0: any

	// fault, where it is not nil, is asked before and after each call does what
	// it does: an error after is a lost reply.
	fault func(call string, after bool) error

	mu       sync.Mutex // guards what follows, and fault
	broken   error      // of each Scan
	held     map[string]kv.Entry
	promised map[string]kv.Version
	trees    *Trees
	calls    map[string]int
	fetched  int   // keys that Get was asked for
	batches  []int // the bytes of each Apply
	listed   []int // the partitions of each List
	asked    []int // how many partitions each Digests was for
}

var (
	_ Replica    = (*fake)(nil)
	_ kv.Scanner = (*fake)(nil)
)

// newFake returns an empty replica whose partitions are all known.
func newFake(name string, partitions int) *fake {
	f := &fake{
		name: name, partitions: partitions, held: map[string]kv.Entry{},
		promised: map[string]kv.Version{}, trees: NewTrees(partitions), calls: map[string]int{},
	}
	f.sumUp()
	return f
}

func (f *fake) sumUp() {
	for p := range f.partitions {
		err := f.trees.Rebuild(context.Background(), p, func(visit func(*kv.Entry) bool) error {
			return f.Scan(context.Background(), p, nil, visit)
		})
		if err != nil {
			panic(err)
		}
	}
}

func (f *fake) all() []int {
	all := make([]int, f.partitions)
	for p := range all {
		all[p] = p
	}
	return all
}

func (f *fake) Name() string { return f.name }

// call counts a call and does it, unless a fault is to happen.
func (f *fake) call(name string, do func()) error {
	fault := func(after bool) error {
		if f.fault == nil {
			return nil
		}
		return f.fault(name, after)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]++
	if err := fault(false); err != nil {
		return err
	}
	do()
	return fault(true)
}

func (f *fake) Digests(_ context.Context, partitions []int) (out []Digest, err error) {
	err = f.call("digests", func() {
		f.asked = append(f.asked, len(partitions))
		for _, p := range partitions {
			out = append(out, f.trees.Digest(p))
		}
	})
	return out, err
}

func (f *fake) List(
	_ context.Context, partition int, from []byte, values bool,
) (out []kv.Entry, next []byte, err error) {
	err = f.call("list", func() {
		f.listed = append(f.listed, partition)
		for _, e := range f.sorted(partition, from) {
			if f.page > 0 && len(out) == f.page {
				next = e.Key
				return
			}
			if !values {
				e.Value, e.ContentType = nil, ""
			}
			out = append(out, e)
		}
	})
	return out, next, err
}

func (f *fake) Get(_ context.Context, keys [][]byte) ([]kv.Entry, []error) {
	if f.getAtMost > 0 && len(keys) > f.getAtMost {
		keys = keys[:f.getAtMost]
	}
	found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
	err := f.call("get", func() {
		f.fetched += len(keys)
		for i, key := range keys {
			e, ok := f.held[string(key)]
			if !ok {
				errs[i] = kv.ErrNotFound
			}
			found[i] = e
		}
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return found, errs
}

func (f *fake) Apply(_ context.Context, entries []kv.Entry) (held []kv.Version, err error) {
	size := 0
	for i := range entries {
		size += sizeOf(&entries[i])
		if f.largest > 0 && len(entries[i].Value) > f.largest {
			return nil, fmt.Errorf("store: %w", kv.ErrTooLarge)
		}
	}
	refused := false
	for i := range entries {
		f.trees.Begin(kv.Partition(entries[i].Key, f.partitions))
		defer f.trees.End(kv.Partition(entries[i].Key, f.partitions))
	}
	err = f.call("apply", func() {
		f.batches = append(f.batches, size)
		for _, e := range entries {
			if e.Version.Compare(f.promised[string(e.Key)]) < 0 {
				refused = true
			} else if was, kept := f.keep(e); kept {
				f.trees.Update(kv.Partition(e.Key, f.partitions), e.Key, was, e.Version)
			}
			held = append(held, f.held[string(e.Key)].Version)
		}
	})
	if err == nil && refused {
		err = kv.ErrConflict
	}
	return held, err
}

// keep applies an entry, and returns the version that it replaced. f.mu is
// held.
func (f *fake) keep(e kv.Entry) (was kv.Version, kept bool) {
	old, ok := f.held[string(e.Key)]
	if ok && !e.Supersedes(&old) {
		return kv.Version{}, false
	}
	f.held[string(e.Key)] = e
	return old.Version, true
}

// put applies entries, and shows the store between a change and its Update.
func (f *fake) put(entries ...kv.Entry) {
	for _, e := range entries {
		p := kv.Partition(e.Key, f.partitions)
		f.trees.Begin(p)
		f.mu.Lock()
		was, kept := f.keep(e)
		f.mu.Unlock()
		if kept {
			f.trees.Update(p, e.Key, was, e.Version)
		}
		f.trees.End(p)
	}
}

// lose drops an entry without anybody being told.
func (f *fake) lose(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, key)
}

// sorted returns the entries of a partition. f.mu is held.
func (f *fake) sorted(partition int, from []byte) []kv.Entry {
	var out []kv.Entry
	for _, e := range f.held {
		if kv.Partition(e.Key, f.partitions) == partition && bytes.Compare(e.Key, from) >= 0 {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b kv.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return out
}

func (f *fake) Scan(_ context.Context, partition int, from []byte, visit func(*kv.Entry) bool) error {
	f.mu.Lock()
	found, err := f.sorted(partition, from), f.broken
	f.mu.Unlock()
	for i := range found {
		if err == nil && !visit(&found[i]) {
			break
		}
	}
	return err
}

// change does something to a replica that others may be using.
func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) contents() map[string]kv.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.held)
}

// forget starts the counts anew.
func (f *fake) forget() {
	f.calls, f.fetched, f.batches, f.listed, f.asked = map[string]int{}, 0, nil, nil, nil
}

func entry(key string, at uint64, value string) kv.Entry {
	return kv.Entry{Key: []byte(key), Value: []byte(value), Version: kv.Version{Time: at, Node: 7}}
}

// wantAlike fails the test unless both hold the same, and their digests say so
// and are right.
func wantAlike(t interface {
	Helper()
	Errorf(string, ...any)
}, a, b *fake) {
	t.Helper()
	ofA, ofB := a.contents(), b.contents()
	if !maps.EqualFunc(ofA, ofB, func(x, y kv.Entry) bool {
		return x.Version == y.Version && x.Deleted == y.Deleted && x.Expires == y.Expires && bytes.Equal(x.Value, y.Value)
	}) {
		t.Errorf("%s holds %d entries and %s holds %d, and they are not the same", a.name, len(ofA), b.name, len(ofB))
	}
	for p := range a.partitions {
		want := digestOf(a, p)
		if da, db := a.trees.Digest(p), b.trees.Digest(p); da != want || db != want {
			t.Errorf("partition %d has the digests %x and %x, want %x", p, da.Root, db.Root, want.Root)
		}
	}
}

// digestOf sums up a partition from what a replica holds.
func digestOf(f *fake, partition int) Digest {
	trees := NewTrees(f.partitions)
	err := trees.Rebuild(context.Background(), partition, func(visit func(*kv.Entry) bool) error {
		return f.Scan(context.Background(), partition, nil, visit)
	})
	if err != nil {
		panic(err)
	}
	return trees.Digest(partition)
}
