package kvtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// history is what calls said they did to each key. It is safe for concurrent
// use.
type history struct {
	mu    sync.Mutex // guards steps
	steps map[string][]kv.Applied
}

func (h *history) add(k []byte, done kv.Applied) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.steps == nil {
		h.steps = map[string][]kv.Applied{}
	}
	h.steps[string(k)] = append(h.steps[string(k)], done)
}

// check checks that the steps of a key are one walk from nothing to what is
// held in the end: each version, and nothing, was come to as often as it was
// left, but for the two ends; and none was said to be there that never was.
func (h *history) check(k []byte, last kv.Version) error {
	come := map[kv.Version]int{{}: 1} // how much more often it was come to than left
	met := map[kv.Version]bool{{}: true}
	for _, step := range h.steps[string(k)] {
		come[step.Was]--
		come[step.Held]++
		met[step.Held] = met[step.Held] || step.Held != step.Was
	}
	come[last]--
	for v, n := range come {
		if n != 0 {
			return fmt.Errorf("%s: %v was come to %+d times more often than left; %v is held", k, v, n, last)
		}
	}
	for _, step := range h.steps[string(k)] {
		if !met[step.Was] {
			return fmt.Errorf("%s: there was %v, which no call has left there", k, step.Was)
		}
	}
	return nil
}

// testChain lets several write the same keys at once, the same versions in
// orders of their own and in batches that have a key more than once. What each
// call found must be what another has left, so that all changes of a key are
// one chain without gaps, upwards.
func (s *suite) testChain(t *testing.T) {
	const writers, keys = 4, 3
	rounds := s.effort(60, 15)
	store := s.opened(t)
	var h history
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			if err := writeChain(store, &h, uint64(w), rounds, keys); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for k := range keys {
		newest := write(key(k), rounds*chainRound)
		expect(t, store, &newest)
		if err := h.check(key(k), newest.Version); err != nil {
			t.Error(err)
		}
	}
}

// chainRound is how many writes of each key a round of writeChain has.
const chainRound = 6

// writeChain applies every write of every key, in batches, and notes what they
// did.
func writeChain(store kv.Store, h *history, seed uint64, rounds, keys int) error {
	rnd := rand.New(rand.NewPCG(2, seed))
	for round := range rounds {
		entries := make([]kv.Entry, chainRound*keys)
		for i, n := range rnd.Perm(len(entries)) {
			entries[i] = write(key(n%keys), 1+round*chainRound+n/keys)
		}
		for batch := range slices.Chunk(entries, 1+rnd.IntN(len(entries))) {
			done := make([]kv.Applied, len(batch))
			if err := store.Apply(context.Background(), batch, done); err != nil {
				return err
			}
			for i := range done {
				if d := done[i]; d.Held.Compare(batch[i].Version) < 0 || d.Was.Compare(d.Held) > 0 ||
					d.Was != d.Held && d.Held != batch[i].Version {
					return fmt.Errorf("%v after %v of %s was applied", d, batch[i].Version, batch[i].Key)
				}
				h.add(batch[i].Key, done[i])
			}
		}
	}
	return nil
}
