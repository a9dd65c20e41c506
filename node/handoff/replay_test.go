package handoff

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// finish has the hints for the given keys done, and no others.
func finish(t testing.TB, l *Log, target uint64, keys ...string) {
	t.Helper()
	err := l.Replay(context.Background(), target, func(_ context.Context, batch []Hint) ([]bool, error) {
		done := make([]bool, len(batch))
		for i, h := range batch {
			for _, key := range keys {
				done[i] = done[i] || key == string(h.Key)
			}
		}
		return done, nil
	})
	if err != nil {
		t.Error(err)
	}
}

func addMany(l *Log, target uint64, from, to int) {
	for i := from; i < to; i++ {
		l.Add(target, i%16, fmt.Appendf(nil, "k%05d", i), version(1))
	}
}

func allDone(batch []Hint) []bool {
	done := make([]bool, len(batch))
	for i := range done {
		done[i] = true
	}
	return done
}

func TestReplayInBatchesOldestFirst(t *testing.T) {
	l := open(t, Config{})
	addMany(l, 1, 0, 1201)
	addMany(l, 2, 0, 3)
	var sizes []int
	next := 0
	err := l.Replay(context.Background(), 1, func(_ context.Context, batch []Hint) ([]bool, error) {
		sizes = append(sizes, len(batch))
		for _, h := range batch {
			if want := fmt.Sprintf("k%05d", next); string(h.Key) != want || h.Partition != next%16 || h.Version != version(1) {
				t.Fatalf("%+v; want %s", h, want)
			}
			next++
		}
		return allDone(batch), nil
	})
	if err != nil || fmt.Sprint(sizes) != "[500 500 201]" {
		t.Errorf("batches %v, %v", sizes, err)
	}
	if l.Pending(1) != 0 || l.Pending(2) != 3 {
		t.Errorf("%d and %d remain", l.Pending(1), l.Pending(2))
	}
}

func TestReplayThatFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		second func([]Hint) ([]bool, error) // answers the second batch
		want   int                          // remaining of 1200
		err    error
	}{
		"nothing done":  {func([]Hint) ([]bool, error) { return nil, broken }, 700, broken},
		"first is done": {func([]Hint) ([]bool, error) { return []bool{true}, broken }, 699, broken},
		"all done":      {func(b []Hint) ([]bool, error) { return allDone(b), broken }, 200, broken},
		"no error":      {func([]Hint) ([]bool, error) { return []bool{false, true}, nil }, 499, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			l := open(t, cfg)
			addMany(l, 1, 0, 1200)
			l.tend(false)
			calls := 0
			err := l.Replay(context.Background(), 1, func(_ context.Context, batch []Hint) ([]bool, error) {
				if calls++; calls == 2 {
					return c.second(batch)
				}
				return allDone(batch), nil
			})
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if got := l.Pending(1); got != c.want {
				t.Errorf("%d remain, want %d", got, c.want)
			}
			l.tend(false)
			expect(t, open(t, cfg), content(t, l))
		})
	}
}

func TestReplayEndsWithItsContext(t *testing.T) {
	l := open(t, Config{})
	addMany(l, 1, 0, 1200)
	ctx, cancel := context.WithCancel(context.Background())
	err := l.Replay(ctx, 1, func(_ context.Context, batch []Hint) ([]bool, error) {
		cancel()
		return allDone(batch), nil
	})
	if !errors.Is(err, context.Canceled) || l.Pending(1) != 700 {
		t.Errorf("%v with %d remaining; want canceled, 700", err, l.Pending(1))
	}
}

// TestReplayOfWhatComesAnew expects an end although each hint that is done
// comes again at once.
func TestReplayOfWhatComesAnew(t *testing.T) {
	l := open(t, Config{})
	addMany(l, 1, 0, 600)
	handed := 0
	err := l.Replay(context.Background(), 1, func(_ context.Context, batch []Hint) ([]bool, error) {
		if handed += len(batch); handed > 600 {
			return nil, errors.New("more than there was")
		}
		for _, h := range batch {
			l.Add(1, h.Partition, h.Key, version(2))
		}
		return allDone(batch), nil
	})
	if err != nil || l.Pending(1) != 600 {
		t.Errorf("%v with %d remaining; want nil, 600", err, l.Pending(1))
	}
}

// TestAddDuringReplay lets hints be added, replayed, written and dropped all at
// once, and expects that the newest version of each key was handed over once
// all is done.
func TestAddDuringReplay(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	l := open(t, cfg)
	const keys, rounds, writers = 700, 6, 3
	var mu sync.Mutex
	got := map[string]kv.Version{}
	send := func(_ context.Context, batch []Hint) ([]bool, error) {
		done := make([]bool, len(batch))
		mu.Lock()
		defer mu.Unlock()
		for i, h := range batch {
			if done[i] = i%3 != 0 || len(batch) < 5; done[i] && h.Version.Compare(got[string(h.Key)]) > 0 {
				got[string(h.Key)] = h.Version
			}
		}
		return done, nil
	}
	var add, work sync.WaitGroup
	for w := range writers {
		add.Go(func() {
			for n := range keys * rounds {
				l.Add(1, n%16, fmt.Appendf(nil, "k%d", n%keys), version(1+n/keys*writers+w))
				l.Add(2, n%16, fmt.Appendf(nil, "k%d", n%keys), version(1))
			}
		})
	}
	stop := make(chan struct{})
	loop := func(f func()) {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	loop(func() { l.Replay(context.Background(), 1, send) })
	loop(func() { l.Drop(2); l.Targets(); l.Count(); l.InPartition(3) })
	loop(func() { l.tend(false) })
	add.Wait()
	close(stop)
	work.Wait()
	for l.Pending(1) > 0 {
		if err := l.Replay(context.Background(), 1, send); err != nil {
			t.Fatal(err)
		}
	}
	for key, v := range got {
		if v != version(rounds*writers) {
			t.Errorf("%s was handed over up to %v", key, v)
		}
	}
	if len(got) != keys {
		t.Errorf("%d keys, want %d", len(got), keys)
	}
	l.tend(true)
	expect(t, open(t, cfg), content(t, l))
}
