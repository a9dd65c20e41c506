package topology

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/ring"
)

// record returns a version with members whose storage identities are 1, 2, 3.
func record(version uint64, cluster string, members ...string) ring.Record {
	r := ring.Record{Version: version, Cluster: cluster, Partitions: worldPartitions, Replicas: 3}
	for i, name := range members {
		r.Members = append(r.Members, ring.Member{Name: name, Storage: uint64(i + 1), Weight: 1})
	}
	return r
}

// All nodes go down together, as in a power cut. They are one cluster again,
// and serve as soon as a majority is there.
func TestAllRestartTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		before := w.state("n2").Cluster()
		w.stopAll()
		w.restart("n3")
		w.pass(20 * time.Second)
		s := w.state("n3")
		if s == nil || s.Confirmed || s.Cluster() != before || s.Version() != 2 {
			t.Fatalf("alone it knows %+v", s)
		}
		w.restart("n1")
		w.awaitThat("two of three serve", func() bool { return w.state("n1").Confirmed && w.state("n3").Confirmed })
		w.restart("n2")
		w.start("n4", false)
		w.await(4, "n1", "n2", "n3", "n4")
	})
}

// What a member has promised it knows after a restart, though nobody else is
// there to be asked.
func TestRestartKeepsPromises(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2")
		w.places["n1"].keeper.Acquire() // never released: the change cannot go on
		w.start("n3", false)
		w.awaitThat("n2 acknowledges", func() bool { return w.state("n2").Own().Ack == 3 })
		if err := w.places["n2"].keeper.Seal(w.t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		w.stopAll()
		w.restart("n2")
		w.pass(20 * time.Second)
		s := w.state("n2")
		if s.Version() != 3 || s.Oldest() != 2 || s.Seal != 3 || s.Own() != (Numbers{Ack: 3, Sync: 2, Done: 2}) {
			t.Errorf("it knows ring %d..%d, seal %d, numbers %+v", s.Oldest(), s.Version(), s.Seal, s.Own())
		}
		w.restart("n1")
		w.restart("n3")
		w.await(3, "n1", "n2", "n3")
	})
}

// A member that was away while the ring changed learns of it before it serves.
func TestRestartLearnsTheNewerRing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2", "n3")
		w.kill("n3")
		w.start("n4", false)
		w.awaitThat("n4 is a member", func() bool { return w.state("n1").Version() == 3 })
		k := w.restart("n3")
		s, err := k.Wait(w.t.Context(), func(s *State) bool { return s.Confirmed })
		if err != nil || s.Version() != 3 {
			t.Errorf("it serves under ring %d, %v", s.Version(), err)
		}
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
		w.founded("n1", "n2")
		before := w.state("n1").Cluster()
		meta := &flaky{Metadata: w.places["n1"].meta}
		meta.left.Store(3)
		w.stopAll()
		k := w.startOver(meta, "n1", true)
		w.pass(20 * time.Second)
		if s := k.State(); s == nil || s.Cluster() != before || len(s.Ring.Members()) != 2 {
			t.Fatalf("it was in cluster %s of 2, and knows %+v", before, s)
		}
	})
}

// A store that came back with an older state has broken its promises: what is in
// it does not count as a replica. It may be somebody's backup all the same, and is
// not to be emptied for that.
func TestStoreThatWasSetBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1", "n2")
		meta := w.places["n1"].meta
		old, err := meta.LoadMeta(w.t.Context(), savedName)
		if err != nil {
			t.Fatal(err)
		}
		w.start("n3", false)
		w.await(3, "n1", "n2", "n3")
		w.kill("n1")
		if err := meta.SaveMeta(w.t.Context(), savedName, old); err != nil {
			t.Fatal(err)
		}
		w.restart("n1")
		w.awaitThat("it ends", func() bool { return w.ended("n1") != nil })
		if err := w.ended("n1"); !errors.Is(err, ErrSetBack) || errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), "empty store") {
			t.Errorf("it ends with %v", err)
		}
		w.kill("n1")
		w.start("n1", false)
		w.await(3, "n1", "n2", "n3")
	})
}

// failing is metadata that cannot be saved.
type failing struct{ kv.Metadata }

var errDisk = errors.New("disk on fire")

func (failing) SaveMeta(context.Context, string, []byte) error { return errDisk }

// What could not be saved is not acted upon, and nobody hears of it.
func TestWhatIsNotSavedIsNotPublished(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start("n1", true)
		w.await(1, "n1")
		w.start("n2", false)
		w.await(2, "n1", "n2")
		w.kill("n2")
		k := w.startOver(failing{w.places["n2"].meta}, "n2", false)
		w.start("n3", false)
		w.pass(20 * time.Second)
		if s := k.State(); s.Version() != 2 || w.state("n1").Numbers[w.places["n2"].storage].Ack > 2 {
			t.Errorf("it knows ring %d, and n1 of %+v", s.Version(), w.state("n1").Numbers)
		}
		vote := voteQuestion{Version: 3, Ballot: Ballot{Round: 9, Storage: 9}}
		if out, err := k.answerPrepare(w.t.Context(), &vote); !errors.Is(err, errDisk) {
			t.Errorf("it promises %+v, %v", out.Vote, err)
		}
	})
}

// Taking up what is in the store needs no write to it: it may be full.
func TestResumeOverAFullStore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.founded("n1")
		meta := w.places["n1"].meta
		w.stopAll()
		w.startOver(failing{meta}, "n1", true)
		w.await(1, "n1")
	})
}

func newLoaded(t *testing.T, storage uint64, data []byte) (*Keeper, error) {
	t.Helper()
	store, err := kv.NewMemory(kv.MemoryOptions{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SaveMeta(t.Context(), savedName, data); err != nil {
		t.Fatal(err)
	}
	p := &place{w: &world{places: map[string]*place{}}}
	k := New(Config{Name: "n1", Storage: storage, Partitions: worldPartitions}, store, p, nil, nil, kv.NewClock(nil), hclog.NewNullLogger())
	return k, k.Load(t.Context())
}

func TestLoadRefusesWhatNobodySaved(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"", "{", "{}", `{"storage":"1"}`,
		`{"storage":"1","read":1,"records":[{"version":1,"cluster":"c"}]}`,
		`{"storage":"1","read":2,"records":[{"version":1,"cluster":"c","partitions":1,"replicas":1,"members":[{"name":"a","storage":"1","weight":1}]}]}`,
	} {
		if _, err := newLoaded(t, 1, []byte(data)); !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("Load of %q: %v, want ErrCorrupt", data, err)
		}
	}
}

// A store that was made for another number of partitions is of no use here.
func TestLoadRefusesOtherPartitions(t *testing.T) {
	t.Parallel()
	r := record(1, "c", "n1")
	r.Partitions *= 2
	data, err := json.Marshal((&ledger{Storage: 1, Records: []ring.Record{r}, Read: 1}).clone())
	if err != nil {
		t.Fatal(err)
	}
	if k, err := newLoaded(t, 1, data); err == nil || errors.Is(err, kv.ErrCorrupt) || k.State() != nil {
		t.Errorf("%+v, %v", k.State(), err)
	}
}

// What was saved under an identity that was given up is not this node's.
func TestLoadIgnoresAnotherIdentity(t *testing.T) {
	t.Parallel()
	l := (&ledger{Storage: 1, Records: []ring.Record{record(1, "c", "n1")}, Read: 1}).clone()
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for storage, known := range map[uint64]bool{1: true, 2: false} {
		k, err := newLoaded(t, storage, data)
		if err != nil || (k.State() != nil) != known {
			t.Errorf("storage %d: %+v, %v", storage, k.State(), err)
		}
	}
}
