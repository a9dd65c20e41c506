package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// share is what this node holds as a replica, and the rules by which it reads
// and changes it for whoever coordinates:
//
//  1. A call whose sender does not know the newest ring version that this node
//     was compared for is refused, and so is one under versions that are over:
//     see [topology.State.RefusesRead] and RefusesWrite.
//  2. No entry older than what was promised for its key is applied, and none that
//     may have been deleted and forgotten before it came; see [horizons].
//  3. The digests follow what is applied.
//
// It knows nothing of quorums.
type share struct {
	name    string
	store   kv.Store
	lasts   bool           // the store is kv.Durable
	batches kv.BatchGetter // the store where it is one, else nil
	repeats bool           // the store asks a server again where an answer was lost
	keeper  *topology.Keeper
	trees   *antientropy.Trees // nil where the store cannot be scanned

	// fence is held shared while entries are applied, and alone where something
	// is to hold for all that come after: a seal, a promise.
	fence    fence
	sealed   atomic.Uint64 // the newest ring version that a seal holds for
	promises *promises
	horizons *horizons // nil: the store cannot drop tombstones, or drops entries by itself
}

// learnPatience is for how long the requests of other nodes wait at one that
// does not know their ring version yet, as after a restart.
const learnPatience = time.Second

// serve runs what a coordinator, this node or another, asks of this replica:
// a call of one of the replica lanes. What is refused or fails says so in its
// result.
func (h *share) serve(ctx context.Context, call *peer.Call) {
	if err := h.know(ctx, call.Ring, call.Read); err != nil {
		failAll(call.Results, err)
		return
	}
	if call.Lane == peer.ReplicaReads {
		s := h.keeper.Acquire() // nothing is deleted meanwhile that is no longer this node's
		defer s.Release()
		if s.RefusesRead(call.Ring, call.Read) {
			failAll(call.Results, errStale(h.name, s))
			return
		}
		h.read(ctx, call.Ops, call.Results)
		return
	}
	for i := 0; i < len(call.Ops); {
		end := i + 1
		for end < len(call.Ops) && call.Ops[end].Verb == call.Ops[i].Verb {
			end++
		}
		switch ops, results := call.Ops[i:end], call.Results[i:end]; ops[0].Verb {
		case kv.Apply:
			h.apply(ctx, call.Ring, ops, results)
		case kv.Promise:
			h.promise(ctx, call.Ring, ops, results)
		case kv.Withdraw:
			h.withdraw(ops, results)
		case kv.Drop:
			h.drop(ctx, call.Ring, ops, results)
		default:
			failAll(results, fmt.Errorf("%s is not for a replica", ops[0].Verb))
		}
		i = end
	}
}

func failAll(results []kv.Result, err error) {
	for i := range results {
		results[i] = kv.Result{Err: err}
	}
}

func errStale(name string, s *topology.State) error {
	return fmt.Errorf("%s is at ring %d: %w", name, s.Version(), peer.ErrStale)
}

// know returns once this node knows the ring versions that a sender knows, and
// may serve under them.
func (h *share) know(ctx context.Context, ring, read uint64) error {
	s := h.keeper.State()
	if s != nil && s.Confirmed && s.Version() >= ring && s.Read.Version() >= read {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, learnPatience)
	defer cancel()
	h.keeper.Behind()
	_, err := h.keeper.Wait(ctx, func(s *topology.State) bool {
		return s.Confirmed && s.Version() >= ring && s.Read.Version() >= read
	})
	if err != nil {
		return fmt.Errorf("%s does not know ring %d yet: %w", h.name, max(ring, read), peer.ErrUnavailable)
	}
	return nil
}

// read reads exactly what this node holds.
func (h *share) read(ctx context.Context, ops []kv.Op, results []kv.Result) {
	if h.batches == nil || len(ops) == 1 {
		var unwanted []byte // receives values that nobody wants
		for i := range ops {
			if !ops[i].Blind {
				results[i].Entry, results[i].Err = h.store.Get(ctx, ops[i].Key, results[i].Entry.Value)
				continue
			}
			e, err := h.store.Get(ctx, ops[i].Key, unwanted)
			if cap(e.Value) > cap(unwanted) {
				unwanted = e.Value[:0]
			}
			e.Value = nil
			results[i].Entry, results[i].Err = e, err
		}
		return
	}
	keys, found, errs := make([][]byte, len(ops)), make([]kv.Entry, len(ops)), make([]error, len(ops))
	for i := range ops {
		keys[i] = ops[i].Key
	}
	h.batches.GetBatch(ctx, keys, found, errs)
	for i := range ops {
		results[i] = kv.Result{Entry: found[i], Err: errs[i]}
		if ops[i].Blind {
			results[i].Entry.Value = nil
		}
	}
}

// get reads what this node holds of one key.
func (h *share) get(ctx context.Context, op *kv.Op, dst []byte) (kv.Entry, error) {
	e, err := h.store.Get(ctx, op.Key, dst)
	if op.Blind {
		e.Value = nil
	}
	return e, err
}

// applying is what an apply needs for a moment, kept for reuse.
type applying struct {
	entries []kv.Entry
	at      []int // by entry, the operation it is of
	applied []kv.Applied
}

// maxApplying is the largest number of entries whose room is kept for reuse.
const maxApplying = 4096

var applyings = sync.Pool{New: func() any { return new(applying) }}

func (a *applying) free() {
	if cap(a.entries) > maxApplying {
		return
	}
	clear(a.entries)
	a.entries, a.at, a.applied = a.entries[:0], a.at[:0], a.applied[:0]
	applyings.Put(a)
}

// apply applies entries for a coordinator that knows a ring version.
func (h *share) apply(ctx context.Context, ring uint64, ops []kv.Op, results []kv.Result) {
	held := h.fence.share(ops)
	defer h.fence.release(held)
	if s := h.keeper.State(); s.RefusesWrite(ring) {
		failAll(results, errStale(h.name, s))
		return
	}
	h.applyFenced(ctx, ops, results, false)
}

// applyFenced applies entries. Its caller holds fence. What comes with its
// partition is no late entry.
func (h *share) applyFenced(ctx context.Context, ops []kv.Op, results []kv.Result, withPartition bool) {
	a := applyings.Get().(*applying)
	defer a.free()
	late := !withPartition && h.pastHorizon(ops)
	if late {
		h.horizons.dropping.RLock()
		defer h.horizons.dropping.RUnlock()
		clear(results)
		h.refuseLate(ctx, ops, results)
	}
	for i := range ops {
		op := &ops[i]
		if h.promises.refuse(op.Key, op.Version) {
			results[i] = kv.Result{Err: errPromised(h.name, op.Key)}
			continue
		}
		if late && results[i].Err != nil {
			continue
		}
		a.at = append(a.at, i)
		a.entries = append(a.entries, kv.Entry{
			Key: op.Key, Value: op.Value, Version: op.Version,
			Expires: op.Expires, ContentType: op.ContentType, Deleted: op.Deleted,
		})
	}
	if len(a.entries) == 0 {
		return
	}
	a.applied = slices.Grow(a.applied[:0], len(a.entries))[:len(a.entries)]
	clear(a.applied)
	err := h.change(a.entries, func() error { return h.store.Apply(ctx, a.entries, a.applied) }, a.applied)
	for i, at := range a.at {
		held := a.applied[i].Held
		if held.IsZero() { // it was not considered
			results[at] = kv.Result{Err: err}
			continue
		}
		results[at] = kv.Result{Entry: kv.Entry{Key: a.entries[i].Key, Version: held}}
		if h.lasts {
			results[at].Receipt.Durable = 1
		}
	}
	h.promises.keep(a.entries, a.applied)
}

// change does what changes the store's entries, and has the digests follow.
func (h *share) change(entries []kv.Entry, do func() error, applied []kv.Applied) error {
	if h.trees == nil {
		return do()
	}
	s := h.keeper.State()
	for i := range entries {
		h.trees.Begin(s.Ring.Partition(entries[i].Key))
	}
	err := do()
	for i := range entries {
		p := s.Ring.Partition(entries[i].Key)
		switch a := &applied[i]; {
		case h.repeats && a.Was == a.Held && a.Held == entries[i].Version:
			// It was there before, or was taken by a first attempt whose answer was
			// lost, which does not show in Was.
			h.trees.Forget(p)
		case !a.Held.IsZero():
			h.trees.Update(p, entries[i].Key, a.Was, a.Held)
		case err != nil && !errors.Is(err, kv.ErrFull) && !errors.Is(err, kv.ErrTooLarge):
			h.trees.Forget(p) // who knows what became of it
		}
		h.trees.End(p)
	}
	return err
}

// withdraw takes promises back.
func (h *share) withdraw(ops []kv.Op, results []kv.Result) {
	for i := range ops {
		h.promises.withdraw(ops[i].Key, ops[i].Version)
		results[i] = kv.Result{}
	}
}

// promise has this replica refuse what is older than each operation's version,
// and answers what it holds. What is held, or was promised, that is as new or
// newer is in its way; the version of the result's entry says what.
func (h *share) promise(ctx context.Context, ring uint64, ops []kv.Op, results []kv.Result) {
	given := false
	for i := range ops {
		unlock := h.fence.alone(ops[i].Key)
		s := h.keeper.State()
		switch made := h.promises.of(ops[i].Key); {
		case s.RefusesWrite(ring):
			results[i] = kv.Result{Err: errStale(h.name, s)}
		case ops[i].Version.Time <= h.horizon(ops[i].Key):
			results[i] = h.late(ops[i].Key)
		case ops[i].Version.Compare(made) < 0:
			results[i] = kv.Result{Entry: kv.Entry{Key: ops[i].Key, Version: made}, Err: errPromised(h.name, ops[i].Key)}
		default:
			h.promises.give(ops[i].Key, ops[i].Version)
			results[i] = kv.Result{}
			given = true
		}
		unlock()
	}
	if !given {
		return
	}
	err := h.promises.save(ctx)
	for i := range ops {
		if results[i].Err != nil {
			continue
		}
		if err != nil {
			results[i] = kv.Result{Err: err}
			continue
		}
		results[i] = h.promised(ctx, &ops[i])
	}
}

// promised answers what this node holds of a key that was promised.
func (h *share) promised(ctx context.Context, op *kv.Op) kv.Result {
	e, err := h.store.Get(ctx, op.Key, nil)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return kv.Result{}
	case err != nil:
		return kv.Result{Err: err}
	case e.Version.Compare(op.Version) >= 0:
		h.promises.met(op.Key, e.Version)
		return kv.Result{Entry: kv.Entry{Key: op.Key, Version: e.Version}, Err: errPromised(h.name, op.Key)}
	}
	return kv.Result{Entry: e}
}

func errPromised(name string, key []byte) error {
	return fmt.Errorf("%s has promised %q to a newer write: %w", name, key, kv.ErrConflict)
}

// open admits whoever reads many entries at once, until the state that it
// returns is released: nothing is deleted meanwhile that is no longer this
// node's. For a comparison under a ring version that is not in force yet (0: it
// is none) it seals this replica first.
func (h *share) open(ctx context.Context, ring, read, compare uint64) (*topology.State, error) {
	if err := h.know(ctx, max(ring, compare), read); err != nil {
		return nil, err
	}
	if compare > 0 {
		if err := h.seal(ctx, compare); err != nil {
			return nil, err
		}
	}
	s := h.keeper.Acquire()
	if s.RefusesRead(ring, read) {
		s.Release()
		return nil, errStale(h.name, s)
	}
	return s, nil
}

// seal has this replica refuse, from now on, whoever does not know a ring
// version: nothing that is applied for such a one would be part of a comparison
// that begins when seal has returned.
func (h *share) seal(ctx context.Context, version uint64) error {
	if h.sealed.Load() >= version {
		return nil
	}
	if err := h.keeper.Seal(ctx, version); err != nil {
		return err
	}
	h.fence.wait() // what was admitted before is applied by then
	for {
		now := h.sealed.Load()
		if now >= version || h.sealed.CompareAndSwap(now, version) {
			return nil
		}
	}
}
