package nodetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// Fate is what a client that wrote a key knows of it.
type Fate int

// What may be known.
const (
	// Unknown: the last write of the key has not ended, or not well, and may have
	// been applied or not.
	Unknown Fate = iota
	// Present: its value was acknowledged.
	Present
	// Absent: its deletion was acknowledged.
	Absent
)

// Ledger is what was acknowledged of keys that were written once, and perhaps
// deleted afterwards. Its methods are safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex // guards what follows
	keys   []string   // in the order of their first writes
	fates  map[string]Fate
	values map[string]string
}

func newLedger() *Ledger {
	return &Ledger{fates: make(map[string]Fate), values: make(map[string]string)}
}

// note takes down what is known of a key from now on.
func (l *Ledger) note(key, value string, fate Fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.fates[key]; !again {
		l.keys = append(l.keys, key)
	}
	l.fates[key], l.values[key] = fate, value
}

// pick returns a key and its fate; Unknown where nothing was written.
func (l *Ledger) pick(dice *rand.Rand) (string, Fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.keys) == 0 {
		return "", Unknown
	}
	key := l.keys[dice.IntN(len(l.keys))]
	return key, l.fates[key]
}

// Fate returns what is known of a key, and its value.
func (l *Ledger) Fate(key string) (Fate, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fates[key], l.values[key]
}

// Keys returns the keys of a fate, sorted.
func (l *Ledger) Keys(fate Fate) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, key := range l.keys {
		if l.fates[key] == fate {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// judge returns an error where a client that read a key, and was told r, was
// told what cannot be. It knew before that the key's fate was what it still
// is. Reads that failed say nothing.
func (l *Ledger) judge(key string, before Fate, r node.Reply) error {
	after, value := l.Fate(key)
	missing := errors.Is(r.Err, kv.ErrNotFound)
	switch {
	case after != before, r.Err != nil && !missing:
		return nil
	case after == Present && missing:
		return fmt.Errorf("%q was acknowledged and is not found", key)
	case after == Present && string(r.Entry.Value) != value:
		return fmt.Errorf("%q is %q, acknowledged was %q", key, r.Entry.Value, value)
	case after == Absent && !missing:
		return fmt.Errorf("%q is %q, its deletion was acknowledged", key, r.Entry.Value)
	}
	return nil
}

// CheckSet returns an error unless every acknowledged key has its value
// through every live node. A read that fails is tried again; one that gives a
// wrong answer is not.
func (c *Cluster) CheckSet() error { return c.checkFates(Present, c.Live()) }

// CheckGone returns an error unless no key whose deletion was acknowledged has
// a value through any live node, or is listed.
func (c *Cluster) CheckGone() error { return c.checkGone(c.Live()) }

func (c *Cluster) checkGone(through []string) error {
	if err := c.checkFates(Absent, through); err != nil {
		return err
	}
	var listed map[string]string
	for _, name := range through {
		err := c.await(pollEvery, func() (err error) {
			listed, err = c.List(name)
			return err
		})
		if err != nil {
			return fmt.Errorf("list through %s: %w", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(listed)) {
			if fate, _ := c.ledger.Fate(key); fate == Absent {
				return fmt.Errorf("%q is listed through %s, its deletion was acknowledged", key, name)
			}
		}
	}
	return nil
}

// readAtOnce is how many keys are read together.
const readAtOnce = 100

func (c *Cluster) checkFates(fate Fate, through []string) error {
	for _, name := range through {
		for keys := range slices.Chunk(c.ledger.Keys(fate), readAtOnce) {
			if err := c.checkKeys(name, keys, fate); err != nil {
				return fmt.Errorf("through %s: %w", name, err)
			}
		}
	}
	return nil
}

// checkKeys reads keys through a node until it has answered for all of them.
func (c *Cluster) checkKeys(name string, keys []string, fate Fate) error {
	var wrong error
	err := c.await(pollEvery, func() error {
		ops := make([]kv.Op, len(keys))
		for i, key := range keys {
			ops[i] = kv.Op{Verb: kv.Get, Key: []byte(key)}
		}
		var failed []string
		var why error
		for i, r := range c.DoAll(context.Background(), name, ops) {
			if wrong = c.ledger.judge(keys[i], fate, r); wrong != nil {
				return nil
			}
			if r.Err != nil && !errors.Is(r.Err, kv.ErrNotFound) {
				failed, why = append(failed, keys[i]), r.Err
			}
		}
		keys = failed
		return why
	})
	return errors.Join(wrong, err)
}
