package antientropy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/thunderdb/thunderdb/kv"
)

func (f *fake) rebuild(t *testing.T, during func(seen int)) error {
	return f.trees.Rebuild(t.Context(), 0, func(visit func(*kv.Entry) bool) error {
		seen := 0
		return f.Scan(t.Context(), 0, nil, func(e *kv.Entry) bool {
			seen++
			during(seen)
			return visit(e)
		})
	})
}

// wiped returns a replica that lost an entry, which its digest still has.
func wiped() *fake {
	f := newFake("n", 1)
	for i := range 10 {
		f.put(entry(fmt.Sprint(i), 1, ""))
	}
	f.put(entry("lost", 1, ""))
	f.lose("lost")
	return f
}

func TestRebuildTriesAgainAfterAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, once := wiped(), true
		err := f.rebuild(t, func(seen int) {
			if once && seen == 4 {
				once = false
				f.put(entry("0", 2, ""), entry("8", 2, ""), entry("new", 1, ""))
			}
		})
		if err != nil || f.trees.Digest(0) != digestOf(f, 0) {
			t.Errorf("%v, and the digest is %x, want %x", err, f.trees.Digest(0), digestOf(f, 0))
		}
	})
}

func TestRebuildGivesUpWhereChangesNeverEnd(t *testing.T) {
	t.Parallel()
	changes := map[string]func(f *fake, at uint64){
		"a write in every scan": func(f *fake, at uint64) { f.put(entry("0", at, "")) },
		"one that does not end": func(f *fake, at uint64) { f.trees.Begin(0) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, at := newFake("n", 1), uint64(1)
				f.put(entry("0", 1, ""), entry("1", 1, ""))
				err := f.rebuild(t, func(int) { at++; change(f, at) })
				if !errors.Is(err, ErrBusy) {
					t.Errorf("%v, want ErrBusy", err)
				}
				if !f.trees.Known(0) || f.trees.Digest(0) != digestOf(f, 0) {
					t.Error("a rebuild that failed has changed the digest")
				}
			})
		})
	}
}

// A scan may see what a change has done, of which Update has yet to tell.
func TestRebuildDoesNotCountAChangeUnderWayTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, e := newFake("n", 1), entry("0", 1, "")
		f.trees.Begin(0)
		f.held["0"] = e
		if err := f.rebuild(t, func(int) {}); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		f.trees.Update(0, e.Key, kv.Version{}, e.Version)
		f.trees.End(0)
		if f.trees.Digest(0) != digestOf(f, 0) {
			t.Error("the entry is not counted once")
		}
	})
}

// The moment in which one rebuild must not see half of another one is short,
// so there are many.
func TestManyRebuildsAtOnce(t *testing.T) {
	t.Parallel()
	for range 2000 {
		f := wiped()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 3 {
					if err := f.rebuild(t, func(int) {}); err != nil && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if d := f.trees.Digest(0); d != digestOf(f, 0) && !onlyLost(f, d) {
			t.Fatalf("the digest is %x, want %x", d.Root, digestOf(f, 0).Root)
		}
	}
}

func TestRebuildWithinARebuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, once := wiped(), true
		err := f.rebuild(t, func(int) {
			if once {
				once = false
				if err := f.rebuild(t, func(int) {}); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || f.trees.Digest(0) != digestOf(f, 0) {
			t.Errorf("%v, and the digest is %x, want %x", err, f.trees.Digest(0), digestOf(f, 0))
		}
	})
}

func TestRebuildFailsWithItsScan(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	ended, end := context.WithCancel(t.Context())
	tests := map[string]struct {
		ctx  context.Context
		scan func(func(*kv.Entry) bool) error
		want error
	}{
		"an error": {t.Context(), func(func(*kv.Entry) bool) error { return broken }, broken},
		"cancelled": {ended, func(visit func(*kv.Entry) bool) error {
			end()
			if visit(&kv.Entry{}) {
				t.Error("the scan goes on")
			}
			return nil
		}, context.Canceled},
	}
	for name, test := range tests {
		trees := NewTrees(1)
		if err := trees.Rebuild(test.ctx, 0, test.scan); !errors.Is(err, test.want) || trees.Known(0) {
			t.Errorf("%s: %v, want %v; known: %v", name, err, test.want, trees.Known(0))
		}
	}
}

func TestForgottenStaysUnknownUntilARebuildThatBeginsLater(t *testing.T) {
	t.Parallel()
	f := wiped()
	if d := f.trees.Digest(0); !d.Known() {
		t.Error("unknown after a rebuild")
	}
	if err := f.rebuild(t, func(int) { f.trees.Forget(0) }); err != nil {
		t.Fatal(err)
	}
	if d := f.trees.Digest(0); d.Known() || f.trees.Known(0) {
		t.Error("known by a scan that began before it was forgotten")
	}
	f.sumUp()
	if d := f.trees.Digest(0); !d.Known() || d != digestOf(f, 0) {
		t.Error("not known after another rebuild")
	}
}

// Each round is short, for a later rebuild would mend what an earlier one got
// wrong.
func TestRebuildAmongWritersIsNeverWrong(t *testing.T) {
	t.Parallel()
	var rebuilt atomic.Int32
	for round := range 1000 {
		f := newFake("n", 1)
		for i := range 20 {
			f.put(entry(fmt.Sprint(i), 1, ""))
		}
		f.put(entry("lost", 1, ""))
		if round%2 == 0 {
			f.trees = NewTrees(1)
		}
		f.lose("lost")
		var wg sync.WaitGroup
		for w := range uint64(2) {
			wg.Go(func() {
				dice := rand.New(rand.NewPCG(uint64(round), w))
				for range dice.IntN(20) {
					f.put(entry(fmt.Sprint(dice.IntN(40)), dice.Uint64N(9)+1, ""))
				}
			})
			wg.Go(func() {
				switch err := f.rebuild(t, func(int) {}); {
				case err == nil:
					rebuilt.Add(1)
				case !errors.Is(err, ErrBusy):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := f.trees.Digest(0); d.Known() && d != digestOf(f, 0) && !onlyLost(f, d) {
			t.Fatalf("round %d: the digest is %x, want %x", round, d.Root, digestOf(f, 0).Root)
		}
	}
	if rebuilt.Load() < 1000 {
		t.Errorf("%d rebuilds of 2000 succeeded", rebuilt.Load())
	}
}

// onlyLost reports whether d is right but for the entry that was lost, and so
// if no rebuild succeeded since.
func onlyLost(f *fake, d Digest) bool {
	f.put(entry("lost", 1, "")) // its share was in the digest all the time
	return d == digestOf(f, 0)
}
