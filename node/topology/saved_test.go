package topology

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/ring"
)

// All nodes go down together, as in a power cut. They are one cluster again,
// with the ring that they had, and without anybody who founds.
func TestAllRestartTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		names := []string{"n1", "n2", "n3"}
		for _, name := range names {
			w.start(name, name == "n1")
		}
		w.await(3, names...)
		before := w.places["n2"].keeper.State()
		ahead := uint64(time.Now().Add(time.Hour).UnixMilli()) << 16
		w.places["n1"].clock.Observe(ahead) // it travels with the next change
		w.start("n4", false)
		w.await(4, append(names, "n4")...)
		w.stopAll()
		w.restart("n3")
		w.pass(20 * time.Second)
		s := w.places["n3"].keeper.State()
		if s == nil || !s.Settled || s.Cluster() != before.Cluster() || s.Version() != before.Version()+1 {
			t.Fatalf("alone it knows %+v", s)
		}
		if got := w.places["n3"].clock.Next(1); got <= ahead {
			t.Errorf("its next stamp is %d, not above %d", got, ahead)
		}
		for _, name := range []string{"n4", "n1", "n2"} {
			w.restart(name)
		}
		w.await(4, append(names, "n4")...)
		w.start("n5", false)
		w.await(5, "n1", "n2", "n3", "n4", "n5")
	})
}

// A member that acknowledged a change knows it after a restart, though nobody
// else is there to be asked.
func TestRestartKeepsAnAcknowledgement(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.start("n2", false)
		w.await(2, "n1", "n2")
		w.places["n1"].keeper.Acquire() // the change cannot be settled before n1 ends
		w.start("n3", false)
		for w.places["n2"].keeper.State().Version() < 3 {
			w.pass(10 * time.Millisecond)
		}
		w.stopAll()
		k := w.restart("n2")
		w.pass(20 * time.Second)
		if s := k.State(); s == nil || s.Version() != 3 || s.Settled {
			t.Errorf("it knows %+v, want ring 3, not settled", s)
		}
		w.restart("n1")
		w.restart("n3")
		w.await(3, "n1", "n2", "n3")
	})
}

// flaky is metadata that cannot be saved so many times.
type flaky struct {
	kv.Metadata
	left atomic.Int64
}

func (f *flaky) SaveMeta(ctx context.Context, name string, data []byte) error {
	if f.left.Add(-1) >= 0 {
		return errDisk
	}
	return f.Metadata.SaveMeta(ctx, name, data)
}

// A founder that comes back, to a store that fails for a moment, founds nothing
// over what it was a member of.
func TestFounderThatReturnsFoundsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.start("n1", true)
		w.await(1, "n1")
		w.start("n2", false)
		w.await(2, "n1", "n2")
		before := k.State().Cluster()
		meta := &flaky{Metadata: w.places["n1"].meta}
		meta.left.Store(3)
		w.stopAll()
		k = w.startOver(meta, "n1", true)
		w.pass(20 * time.Second)
		if s := k.State(); s == nil || s.Cluster() != before || len(s.Ring.Members()) != 2 {
			t.Fatalf("it was in cluster %s of 2, and knows %+v", before, s)
		}
	})
}

// What a node has acknowledged stands, whatever it is offered before it has
// taken that up.
func TestOfferToANodeThatHasYetToResume(t *testing.T) {
	inWorld(t, func(w *world) {
		one, two := record(1, "c", "n1"), record(2, "c", "n1", "n2")
		for name, offered := range map[string][]ring.Record{
			"an older ring": {one}, "another cluster's": {record(1, "d", "n9"), record(2, "d", "n9"), record(3, "d", "n9")},
		} {
			store := w.newStore()
			fresh := func() *Keeper {
				p := &place{w: w, up: true}
				return New(Config{Name: "n1", Partitions: 64}, store, p, nil, kv.NewClock(nil), hclog.NewNullLogger())
			}
			if err := fresh().adopt(w.t.Context(), []ring.Record{one, two}, 1); err != nil {
				t.Fatal(err)
			}
			k := fresh()
			if err := k.Load(w.t.Context()); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(Knowledge{History: offered, Settled: 1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.AnswerOffer(w.t.Context(), raw); err == nil || k.State() != nil {
				t.Errorf("%s: adopted %+v, %v", name, k.State(), err)
			}
			if told := k.knowledge(); told.version() != 2 || told.Settled != 1 {
				t.Errorf("%s: it tells ring %d, settled %d", name, told.version(), told.Settled)
			}
		}
	})
}

// A server that came back with an older state is put right by those who know
// better, before anything is served by it.
func TestStoreThatWasSetBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		meta := w.places["n1"].meta
		old, err := meta.LoadMeta(w.t.Context(), savedName)
		if err != nil {
			t.Fatal(err)
		}
		w.start("n2", false)
		w.await(2, "n1", "n2")
		w.kill("n1")
		if err := meta.SaveMeta(w.t.Context(), savedName, old); err != nil {
			t.Fatal(err)
		}
		w.breaks(func(_, _, _ string) (time.Duration, bool) { return 0, true })
		w.startOver(meta, "n1", true)
		w.pass(10 * time.Second) // it checks that no partition has two servers
		w.breaks(nil)
		w.await(2, "n1", "n2")
	})
}

// hanging is metadata that takes for ever to be saved.
type hanging struct{ kv.Metadata }

func (hanging) SaveMeta(ctx context.Context, _ string, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

// Who asks for a newer ring does not wait longer than it wants to, whatever the
// store does.
func TestAdoptingEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		k := New(Config{Name: "n1", Partitions: 64}, hanging{}, nil, nil, kv.NewClock(nil), hclog.NewNullLogger())
		began := time.Now()
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := k.adopt(ctx, []ring.Record{record(1, "c", "n1")}, 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("adopt: %v", err)
				}
			})
		}
		asking.Wait()
		if took := time.Since(began); took != 100*time.Millisecond { // of the bubble
			t.Errorf("it took %v", took)
		}
	})
}

// failing is metadata that cannot be saved.
type failing struct{ kv.Metadata }

var errDisk = errors.New("disk on fire")

func (failing) SaveMeta(context.Context, string, []byte) error { return errDisk }

// What could not be saved is not acted upon, and not acknowledged.
func TestWhatIsNotSavedIsNotAdopted(t *testing.T) {
	inWorld(t, func(w *world) {
		k := w.startOver(failing{w.newStore()}, "n1", true)
		w.pass(20 * time.Second)
		if err := k.adopt(w.t.Context(), []ring.Record{record(1, "c", "n1")}, 1); !errors.Is(err, errDisk) {
			t.Errorf("adopt: %v", err)
		}
		if k.State() != nil {
			t.Error("it adopted a ring that it would forget")
		}
	})
}

func TestLoadRefusesWhatNobodySaved(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "{", "{}", `{"history":[{"Version":2,"Cluster":"c"}]}`} {
		store, err := kv.NewMemory(kv.MemoryOptions{Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.SaveMeta(t.Context(), savedName, []byte(data)); err != nil {
			t.Fatal(err)
		}
		k := New(Config{Name: "n1"}, store, nil, nil, kv.NewClock(nil), hclog.NewNullLogger())
		if err := k.Load(t.Context()); !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("Load of %q: %v, want ErrCorrupt", data, err)
		}
	}
}

// Taking up what is in the store needs no write to it: it may be full.
func TestResumeOverAFullStore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		meta := w.places["n1"].meta
		w.stopAll()
		w.startOver(failing{meta}, "n1", true)
		w.await(1, "n1")
	})
}
