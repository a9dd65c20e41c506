package membership

import (
	"errors"
	"reflect"
	"sync"
	"testing"
)

// drawer is a Keepsake in memory.
type drawer struct {
	mu   sync.Mutex // guards what follows
	data []byte
	err  error
}

func (d *drawer) Load() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data, d.err
}

func (d *drawer) Save(data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = data
	return d.err
}

func known(d *drawer) func(*Config) { return func(c *Config) { c.Known = d } }

func TestKnownPeers(t *testing.T) {
	t.Parallel()
	d := new(drawer)
	if got, err := loadKnown(d); err != nil || len(got) != 0 {
		t.Errorf("nothing saved: %v, %v", got, err)
	}
	for _, peers := range [][]knownPeer{
		{{"a", "10.0.0.1:7946"}, {"b", "bad"}, {"c", "[::1]:1"}},
		{{"a", "10.0.0.1:7946"}, {"b", "a:b:c"}},
	} {
		if err := saveKnown(d, peers); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadKnown(d)
	if want := map[string]string{"a": "10.0.0.1:7946"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %v, %v, want %v", got, err, want)
	}
	d.err = errors.New("no store")
	if _, err := loadKnown(d); !errors.Is(err, d.err) {
		t.Errorf("a failing store: %v", err)
	}
}

// What cannot be read costs what it knew, and is put right.
func TestTornKnownPeers(t *testing.T) {
	t.Parallel()
	lab := newLab()
	d := &drawer{data: []byte(`[{"name": "a", "gos`)}
	a := lab.start(t, "a", nil)
	b := lab.start(t, "b", edits(seeds(a.Addr()), known(d)))
	seeAll(t, a, b)
	untilKnown(t, d, a)
}

// A restarted node finds the others by what it remembers alone.
func TestKnownPeersOutliveTheProcess(t *testing.T) {
	t.Parallel()
	lab := newLab()
	d := new(drawer)
	a := lab.start(t, "a", nil)
	b := lab.start(t, "b", edits(known(d), seeds(a.Addr())))
	seeAll(t, a, b)
	untilKnown(t, d, a)
	// Nothing else may lead to a, and a must not look for b.
	b.leave()
	a.wait(t, "b to be forgotten", func(v *View) bool { return len(v.Nodes()) == 1 })
	b = lab.start(t, "b", known(d))
	seeAll(t, a, b)
}

func untilKnown(t *testing.T, d *drawer, a *testNode) {
	t.Helper()
	until(t, "a to be remembered", func() bool {
		saved, err := loadKnown(d)
		return err == nil && saved["a"] == a.Addr()
	})
}
