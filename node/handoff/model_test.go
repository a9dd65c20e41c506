package handoff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what a Log is to hold, in the simplest way.
type model map[uint64][]Hint

func (m model) find(target uint64, key string) int {
	return slices.IndexFunc(m[target], func(h Hint) bool { return string(h.Key) == key })
}

func (m model) add(target uint64, h Hint) {
	if i := m.find(target, string(h.Key)); i >= 0 {
		if h.Version.Compare(m[target][i].Version) <= 0 {
			return
		}
		m[target] = slices.Delete(m[target], i, i+1)
	}
	m[target] = append(m[target], h)
}

func (m model) content() map[uint64][]string {
	out := map[uint64][]string{}
	for target, hints := range m {
		for _, h := range hints {
			out[target] = append(out[target], fmt.Sprintf("%s@%d", h.Key, h.Version.Time))
		}
	}
	return out
}

// replay has some hints of a target done, both in the Log and in the model, and
// adds newer ones meanwhile.
func (m model) replay(t *testing.T, l *Log, rng *rand.Rand, target uint64) {
	stop := errors.New("stop")
	want := slices.Clone(m[target])
	var got []Hint
	err := l.Replay(context.Background(), target, func(_ context.Context, batch []Hint) ([]bool, error) {
		got = append(got, batch...)
		done := make([]bool, rng.IntN(len(batch)+2)) // one more, sometimes
		for i := range done {
			if i == len(batch) {
				break
			}
			h := batch[i]
			if rng.IntN(5) == 0 {
				newer := Hint{Partition: h.Partition, Key: h.Key, Version: version(int(h.Version.Time) + 1)}
				l.Add(target, newer.Partition, newer.Key, newer.Version)
				m.add(target, newer)
			}
			done[i] = rng.IntN(3) > 0
			if at := m.find(target, string(h.Key)); done[i] && m[target][at].Version == h.Version {
				m[target] = slices.Delete(m[target], at, at+1)
			}
		}
		if rng.IntN(4) == 0 {
			return done, stop
		}
		return done, nil
	})
	if err != nil && !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err != nil {
		want = want[:len(got)]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("handed over %v; want %v", got, want)
	}
}

// TestAgainstModel does at random what a node may do, with a disk that fails
// now and then, and expects the Log to hold what the model holds, and, while
// the disk works, the next process to find it.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			clock := newHandClock()
			cfg := Config{Dir: t.TempDir(), Now: clock.now}
			l := open(t, cfg)
			disk := &failing{files: directory(cfg.Dir)}
			l.files = disk
			m := model{}
			keys := 1 + rng.IntN(2000)
			for range 100 {
				target := uint64(rng.IntN(3))
				switch rng.IntN(8) {
				default:
					for range rng.IntN(200) {
						n := rng.IntN(keys)
						h := Hint{Partition: n % 16, Key: fmt.Appendf(nil, "key%d", n), Version: version(1 + rng.IntN(1000))}
						l.Add(target, h.Partition, h.Key, h.Version)
						m.add(target, h)
					}
				case 1, 2:
					m.replay(t, l, rng, target)
				case 3:
					l.Drop(target)
					delete(m, target)
				case 4:
					disk.fails = rng.IntN(2) == 0
					clock.add(retryAfter)
				case 5, 6:
					l.tend(rng.IntN(2) == 0)
				}
				expect(t, l, m.content())
				if rng.IntN(10) == 0 {
					disk.fails = false
					l.tend(true)
					l = open(t, cfg)
					l.files = disk
					expect(t, l, m.content())
				}
			}
		})
	}
}
