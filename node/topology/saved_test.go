package topology

import (
	"context"
	"errors"
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
// else can be asked.
func TestRestartKeepsAnAcknowledgement(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.start("n2", false)
		w.await(2, "n1", "n2")
		held := w.places["n1"].keeper.Acquire() // the change cannot be settled
		w.start("n3", false)
		for w.places["n2"].keeper.State().Version() < 3 {
			w.pass(10 * time.Millisecond)
		}
		w.kill("n2")
		w.breaks(func(from, to, _ string) (time.Duration, bool) { return 0, from == "n2" || to == "n2" })
		k := w.restart("n2")
		w.pass(20 * time.Second)
		if s := k.State(); s == nil || s.Version() != 3 || s.Settled {
			t.Errorf("it knows %+v, want ring 3, not settled", s)
		}
		w.breaks(nil)
		held.Release()
		w.await(3, "n1", "n2", "n3")
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
		if err := k.adopt([]ring.Record{record(1, "c", "n1")}, 1); !errors.Is(err, errDisk) {
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
