package membership

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

// While the pool is in uproar, watchers ask for views and say things of their
// own, and one watcher never reads. Nothing may stand still.
func TestWatchersDuringEvents(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", member)
	_, forget := a.Watch() // never read
	defer forget()
	changed, stop := a.Watch()
	defer stop()
	quit := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-quit:
				return
			case <-changed:
			}
			other, end := a.Watch()
			for range a.View().Nodes() {
				_ = a.Update(func(f *Facts) { f.Ring = n })
			}
			<-other // what Update changed is a new view
			end()
		}
	})
	var nodes []*testNode
	for _, name := range []string{"b", "c", "d", "e"} {
		nodes = append(nodes, lab.start(t, name, edits(member, seeds(a.Addr()))))
	}
	seeAll(t, append(nodes, a)...)
	for _, n := range nodes {
		n.leave()
		a.sees(t, n.cfg.Name, Down)
	}
	close(quit)
	watching.Wait()
}

// What a node says of itself is in its own view at once, and in the others'
// before long.
func TestUpdate(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", nil)
	b := lab.start(t, "b", seeds(a.Addr()))
	seeAll(t, a, b)
	if err := b.Update(func(f *Facts) { f.Ring, f.Member = 17, true }); err != nil {
		t.Fatal(err)
	}
	if n, _ := b.View().Find("b"); n.Ring != 17 {
		t.Errorf("own view says ring %d", n.Ring)
	}
	a.wait(t, "b to know ring 17", func(v *View) bool {
		n, _ := v.Find("b")
		return n.Ring == 17 && n.Status == Alive
	})
}

// memberlist panics when a node says more than 512 bytes.
func TestTooMuchToSay(t *testing.T) {
	t.Parallel()
	lab := newLab()
	a := lab.start(t, "a", nil)
	err := a.Update(func(f *Facts) { f.Zone = strings.Repeat("z", 512) })
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("Update: %v, want ErrTooLong", err)
	}
	if n, _ := a.View().Find("a"); n.Zone != "" {
		t.Error("the refused zone is in the view")
	}
	if _, err := New(Config{Name: "b", Listen: "127.0.0.1:0", Facts: Facts{Zone: strings.Repeat("z", 512)}}); !errors.Is(err, ErrTooLong) {
		t.Errorf("New: %v, want ErrTooLong", err)
	}
	// The most that fits goes out.
	room := 512
	for a.Update(func(f *Facts) { f.Zone = strings.Repeat("z", room) }) != nil {
		room--
	}
	b := lab.start(t, "b", seeds(a.Addr()))
	b.wait(t, "all of the zone", func(v *View) bool {
		n, _ := v.Find("a")
		return len(n.Zone) == room
	})
}
