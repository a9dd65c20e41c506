package antientropy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/thunderdb/thunderdb/kv"
)

// ErrBusy is returned by [Trees.Rebuild] where entries of the partition were
// applied during every attempt. What is known of the partition is as before.
var ErrBusy = errors.New("the partition is being written to")

// Trees keeps the digest of every partition of one store. All its methods are
// safe for concurrent use, and none but Rebuild waits.
//
// Whoever changes entries of a partition encloses each change in Begin and End,
// and in between tells each entry that it changed by Update, before anybody
// hears that the change was done. Where it cannot tell, because the store
// failed half way, it calls Forget instead.
type Trees struct {
	trees []tree
}

// tree is what is known of a partition. It has no lock: the sums change by
// addition only, so they are right whatever the order.
type tree struct {
	// changes counts in its lower bits the changes under way, and in its upper
	// ones all that ever began. Where both are the same at two moments and none
	// is under way, nothing happened in between.
	changes atomic.Uint64
	// The tree is known where built is one above doubts, which it becomes by a
	// Rebuild that saw that value of doubts when it began.
	doubts, built atomic.Uint64
	sums          [Buckets]atomic.Uint64
}

// The parts of tree.changes.
const (
	underWay     = 1<<24 - 1 // the mask of the changes under way
	oneUnderWay  = 1
	oneMoreBegun = 1 << 24
)

// NewTrees returns trees for a store with this many partitions. None of them
// is known until Rebuild has summed it up.
func NewTrees(partitions int) *Trees {
	return &Trees{trees: make([]tree, partitions)}
}

// Begin says that entries of a partition may change from now on, until End.
func (t *Trees) Begin(partition int) {
	t.trees[partition].changes.Add(oneMoreBegun + oneUnderWay)
}

// End says that a change that Begin announced is over.
func (t *Trees) End(partition int) { t.trees[partition].end() }

func (t *tree) end() { t.changes.Add(^uint64(oneUnderWay - 1)) }

// Update says that the store held version was of key, a key of the partition,
// and now holds version held. The zero Version stands for no entry.
func (t *Trees) Update(partition int, key []byte, was, held kv.Version) {
	if was == held {
		return
	}
	hash := xxhash.Sum64(key)
	t.trees[partition].sums[bucketOf(hash)].Add(share(hash, held) - share(hash, was))
}

// Forget says that it is not known any more what the store holds of a
// partition. It stays unknown until a Rebuild that begins later.
func (t *Trees) Forget(partition int) { t.trees[partition].doubts.Add(1) }

// Known reports whether the partition has been summed up.
func (t *Trees) Known(partition int) bool { return t.trees[partition].known() }

func (t *tree) known() bool { return t.built.Load() == t.doubts.Load()+1 }

// Digest returns the digest of a partition, which is [Unknown] where it is not
// known. It takes in every change that has ended.
func (t *Trees) Digest(partition int) Digest {
	p := &t.trees[partition]
	if !p.known() {
		return Unknown()
	}
	var d Digest
	for i := range d.Buckets {
		d.Buckets[i] = p.sums[i].Load()
	}
	d.Root = sum(&d.Buckets)
	if !p.known() {
		return Unknown()
	}
	return d
}

// A Rebuild makes rebuildTries attempts, and waits between them for
// rebuildWait, then for twice as long, and so on: 0.13 s altogether.
const (
	rebuildTries = 8
	rebuildWait  = time.Millisecond
)

// Rebuild sums up a partition anew from a scan of the store, which scan does:
// it calls visit for every entry of the partition until that returns false.
// Nothing is replaced but by the sums of a scan during which nothing changed.
// Its errors are ErrBusy, wrapped, ctx's error, and what scan returns. With any
// of them the partition is as known as it was.
func (t *Trees) Rebuild(
	ctx context.Context, partition int, scan func(visit func(*kv.Entry) bool) error,
) error {
	p := &t.trees[partition]
	wait := rebuildWait
	for try := range rebuildTries {
		if try > 0 {
			if err := pause(ctx, wait); err != nil {
				return err
			}
			wait *= 2
		}
		done, err := p.rebuild(ctx, scan)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("sum up partition %d: %w", partition, ErrBusy)
}

// rebuild makes one attempt, and reports whether it succeeded.
func (t *tree) rebuild(ctx context.Context, scan func(visit func(*kv.Entry) bool) error) (bool, error) {
	before := t.changes.Load()
	if before&underWay != 0 {
		return false, nil
	}
	doubts := t.doubts.Load()
	var held, found [Buckets]uint64
	for i := range held {
		held[i] = t.sums[i].Load()
	}
	undisturbed := func() bool { return t.changes.Load() == before }
	err := scan(func(e *kv.Entry) bool {
		hash := xxhash.Sum64(e.Key)
		found[bucketOf(hash)] += share(hash, e.Version)
		return ctx.Err() == nil && undisturbed()
	})
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err != nil {
		return false, err
	}
	// The correction is a change like any other, so that no second Rebuild
	// mistakes half of it for what is held. Changes that begin meanwhile only add.
	if !t.changes.CompareAndSwap(before, before+oneMoreBegun+oneUnderWay) {
		return false, nil
	}
	defer t.end()
	for i := range found {
		t.sums[i].Add(found[i] - held[i])
	}
	t.built.Store(doubts + 1)
	return true, nil
}

// pause waits, and returns ctx's error where that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
