package node

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// promisesName is what the promises are saved under in the node's store.
const promisesName = "promises"

// promises are what this replica has promised to conditional writes: to take
// no entry of a key that is older than a version. One is over when something
// at least as new is held. They are saved before they are given, for a replica
// that forgot one could take an older write after all, and have a condition
// that was judged without it come true too late.
type promises struct {
	meta kv.Metadata // nil: they last as long as the process

	mu     sync.RWMutex // guards what follows
	byKey  map[string]promise
	number uint64 // counts the changes that have to be saved

	saving sync.Mutex // held while the store saves
	saved  uint64     // number that was saved; guarded by saving
}

// promise is a version, and when it was promised. Under is what was promised
// before it and not kept; where it is the version itself, that cannot be
// withdrawn.
type promise struct {
	version, under kv.Version
	given          time.Time
}

// savedPromise is a promise in the store.
type savedPromise struct {
	Key  []byte `json:"key"`
	Time uint64 `json:"time,string"`
	Node uint64 `json:"node,string"`
}

// loadPromises returns what an earlier process has promised.
func loadPromises(ctx context.Context, meta kv.Metadata, now time.Time) (*promises, error) {
	p := &promises{meta: meta, byKey: map[string]promise{}}
	if meta == nil {
		return p, nil
	}
	var saved []savedPromise
	if _, err := loadFact(ctx, meta, promisesName, "the promises", &saved); err != nil {
		return nil, err
	}
	for _, s := range saved {
		v := kv.Version{Time: s.Time, Node: s.Node}
		p.byKey[string(s.Key)] = promise{version: v, under: v, given: now}
	}
	return p, nil
}

// refuse reports whether an entry is older than what was promised.
func (p *promises) refuse(key []byte, v kv.Version) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.byKey) == 0 {
		return false
	}
	return v.Compare(p.byKey[string(key)].version) < 0
}

// of returns what was promised for a key; the zero Version where nothing was.
func (p *promises) of(key []byte) kv.Version {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byKey[string(key)].version
}

// give promises. It counts once save has returned.
func (p *promises) give(key []byte, v kv.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[string(key)] = promise{version: v, under: p.byKey[string(key)].version, given: time.Now()}
	p.number++
}

// withdraw takes back exactly this promise, for a writer that has applied
// nothing under it and never will. What was promised before to others holds
// again, and for good.
func (p *promises) withdraw(key []byte, v kv.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch made, ok := p.byKey[string(key)]; {
	case !ok || made.version != v || made.under == v:
	case made.under.IsZero():
		delete(p.byKey, string(key))
	default:
		p.byKey[string(key)] = promise{version: made.under, under: made.under, given: made.given}
	}
}

// met ends what was promised for a key, of which something as new is held.
func (p *promises) met(key []byte, held kv.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if made, ok := p.byKey[string(key)]; ok && held.Compare(made.version) >= 0 {
		delete(p.byKey, string(key))
	}
}

// drop ends what was promised for a key that this node is no replica of.
func (p *promises) drop(key []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byKey, string(key))
}

// keep ends the promises that what was applied has kept.
func (p *promises) keep(entries []kv.Entry, applied []kv.Applied) {
	p.mu.RLock()
	none := len(p.byKey) == 0
	p.mu.RUnlock()
	if none {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range entries {
		made, ok := p.byKey[string(entries[i].Key)]
		if ok && applied[i].Held.Compare(made.version) >= 0 {
			delete(p.byKey, string(entries[i].Key))
		}
	}
}

// save returns once everything that was promised before is saved. Calls that
// come together share a save.
func (p *promises) save(ctx context.Context) error {
	if p.meta == nil {
		return nil
	}
	p.mu.RLock()
	wanted := p.number
	p.mu.RUnlock()
	p.saving.Lock()
	defer p.saving.Unlock()
	if p.saved >= wanted {
		return nil
	}
	p.mu.RLock()
	number := p.number
	all := make([]savedPromise, 0, len(p.byKey))
	for key, made := range p.byKey {
		all = append(all, savedPromise{Key: []byte(key), Time: made.version.Time, Node: made.version.Node})
	}
	p.mu.RUnlock()
	if err := saveFact(ctx, p.meta, promisesName, "the promises", all); err != nil {
		return err
	}
	p.saved = number
	return nil
}

// overdue returns the keys of promises that were given before a moment and not
// kept: their writers failed half-way.
func (p *promises) overdue(before time.Time) [][]byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var keys [][]byte
	for key, made := range p.byKey {
		if made.given.Before(before) {
			keys = append(keys, bytes.Clone([]byte(key)))
		}
	}
	return keys
}
