package topology

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/ring"
)

// A partition that comes to a node it was taken from has its old entries there
// no more.
func TestPartitionsThatComeAreEmptied(t *testing.T) {
	inWorld(t, func(w *world) {
		w.replicas = 1
		w.founded("n1", "n2")
		data := w.places["n2"].data
		s := w.state("n2")
		held := s.Ring.Held(s.Self)
		if len(data.emptied) != held || held == 0 {
			t.Errorf("emptied %v, and holds %d partitions", data.emptied, held)
		}
	})
}

// What a node knows of the ring can change while partitions that come to it
// cannot be emptied yet, for somebody uses them who was admitted while it held
// them before. Such a request may be waiting for just that.
func TestUpdatesGoOnWhilePartitionsAreEmptied(t *testing.T) {
	inWorld(t, func(w *world) {
		w.replicas = 1
		w.founded("n1")
		k := w.places["n1"].keeper
		w.breaks(func(_, _, question string) (time.Duration, bool) { return 0, question == "compare" })
		w.start("n2", false)
		w.awaitThat("n1 knows two versions", func() bool { return len(k.State().Live) == 2 })
		user := k.Acquire()
		w.breaks(nil)
		w.await(2, "n1", "n2")
		left := make(chan error, 1)
		go func() { left <- w.places["n2"].keeper.Leave(w.t.Context()) }()
		w.pass(5 * time.Second) // less than a change may take: it is not given up and tried again
		if s := k.State(); s.Version() != 2 || len(w.places["n1"].data.emptied) > 0 {
			t.Errorf("it knows ring %d, and has emptied %v, while a request runs", s.Version(), w.places["n1"].data.emptied)
		}
		if err := w.soon(func(ctx context.Context) error { return k.Seal(ctx, 2) }); err != nil {
			t.Error(err)
		}
		user.Release()
		if err := <-left; err != nil {
			t.Error(err)
		}
		w.await(1, "n1")
		if emptied := w.places["n1"].data.emptied; len(emptied) == 0 {
			t.Error("it has emptied nothing")
		}
	})
}

// Of several that bring the same partitions only the first empties them: after
// it, they are written to.
func TestPartitionsAreEmptiedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		p := &place{name: "n1", meta: w.newStore(), data: newShelf(w), storage: 1}
		k := w.run(p, false)
		in := &Knowledge{Records: []ring.Record{record(1, "c", "n1", "n2")}}
		k.cleaning <- struct{}{}
		learned := make(chan error)
		for range 2 {
			go func() { learned <- k.learn(w.t.Context(), in) }()
		}
		synctest.Wait()
		<-k.cleaning
		for range 2 {
			if err := <-learned; err != nil {
				t.Error(err)
			}
		}
		if got := len(p.data.emptied); got != worldPartitions {
			t.Errorf("%d partitions were emptied, of %d", got, worldPartitions)
		}
	})
}

// A deletion gives way to who needs its partitions, also where that one came
// first and has found nothing to stop.
func TestDeletionGivesWay(t *testing.T) {
	for name, waits := range map[string]bool{"under way": false, "about to begin": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.replicas = 1
				w.founded("n1")
				k := w.places["n1"].keeper
				w.places["n1"].data.linger = true
				if waits {
					k.cleaning <- struct{}{}
				}
				w.start("n2", false)
				w.await(2, "n1", "n2")
				left := make(chan error, 1)
				go func() { left <- w.places["n2"].keeper.Leave(w.t.Context()) }()
				w.pass(5 * time.Second) // less than a change may take: it is not given up and tried again
				if waits {
					<-k.cleaning
				}
				w.pass(time.Second)
				if v := k.State().Version(); v != 3 {
					t.Errorf("it is at ring %d, for a deletion goes on", v)
				}
				w.await(1, "n1")
				if err := <-left; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
