package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/thunderdb/thunderdb/kv"
)

// testNow is before no expiry that the tests use and after some.
const testNow = 1_000_000

// model is what a store must hold at least, by key, and what may be in its
// place: writes that nobody was told of. Loose are keys of which nobody was told
// whether they were purged: they may hold nothing, or anything that was written
// since.
type model struct {
	sure  map[string]kv.Entry
	maybe map[string][]kv.Entry
	loose map[string]bool
	meta  string
}

func newModel() *model {
	return &model{sure: map[string]kv.Entry{}, maybe: map[string][]kv.Entry{}, loose: map[string]bool{}}
}

// acknowledged notes entries that Apply took.
func (m *model) acknowledged(entries []kv.Entry) {
	for _, e := range entries {
		if m.loose[string(e.Key)] {
			m.offered([]kv.Entry{e})
		}
		if old, ok := m.sure[string(e.Key)]; !ok || e.Supersedes(&old) {
			m.sure[string(e.Key)] = e
		}
	}
}

// offered notes entries that Apply failed with.
func (m *model) offered(entries []kv.Entry) {
	for _, e := range entries {
		m.maybe[string(e.Key)] = append(m.maybe[string(e.Key)], e)
	}
}

func sameEntry(a, b *kv.Entry) bool {
	return bytes.Equal(a.Value, b.Value) && a.Version == b.Version && a.Deleted == b.Deleted &&
		a.Expires == b.Expires && a.ContentType == b.ContentType
}

// check compares a store with the model, and takes over what it finds of what
// was not acknowledged.
func (m *model) check(t testing.TB, s *Store) {
	t.Helper()
	var want kv.Stats
	for key := range m.keys() {
		got, err := s.Get(context.Background(), []byte(key), nil)
		sure, ok := m.sure[key]
		if errors.Is(err, kv.ErrNotFound) && (!ok || m.loose[key]) {
			delete(m.sure, key)
			continue
		}
		if err != nil {
			t.Fatalf("%q was acknowledged, and Get returns %v", key, err)
		}
		allowed := ok && sameEntry(&got, &sure)
		for i := range m.maybe[key] {
			e := &m.maybe[key][i]
			allowed = allowed || sameEntry(&got, e) && (!ok || m.loose[key] || e.Supersedes(&sure))
		}
		if !allowed {
			t.Fatalf("%q is %+v, want %+v (%v) or one of %+v", key, got, sure, ok, m.maybe[key])
		}
		got.Key = []byte(key)
		m.sure[key] = got
		want.Entries++
		if got.Live(testNow) {
			want.Keys++
			want.Bytes += int64(len(got.Key) + len(got.Value))
		}
	}
	clear(m.maybe)
	clear(m.loose)
	got := s.Stats(testNow)
	got.Resident = 0
	if got != want {
		t.Fatalf("Stats are %+v, want %+v", got, want)
	}
	m.checkScan(t, s)
}

func (m *model) keys() map[string]bool {
	keys := map[string]bool{}
	for k := range m.sure {
		keys[k] = true
	}
	for k := range m.maybe {
		keys[k] = true
	}
	return keys
}

// checkScan lists everything. A listing is cut short when the disk fails: then the
// partition is listed again.
func (m *model) checkScan(t testing.TB, s *Store) {
	t.Helper()
	found := 0
	for p := range s.cfg.partitions {
		for tries := 0; ; tries++ {
			here := 0
			err := s.Scan(context.Background(), p, nil, func(e *kv.Entry) bool {
				want := m.sure[string(e.Key)]
				if !sameEntry(e, &want) {
					t.Errorf("the scan shows %+v, want %+v", *e, want)
				}
				here++
				return true
			})
			if err == nil {
				found += here
				break
			}
			if !allowedError(err) || tries == 10 {
				t.Fatal(err)
			}
		}
	}
	if found != len(m.sure) {
		t.Fatalf("the scan shows %d entries, want %d", found, len(m.sure))
	}
}

// workload makes random calls.
type workload struct {
	rnd  *rand.Rand
	time uint64
}

func (w *workload) entry() kv.Entry {
	w.time++
	e := kv.Entry{
		Key:         fmt.Appendf(nil, "key %d", w.rnd.IntN(40)),
		Version:     kv.Version{Time: w.time - uint64(w.rnd.IntN(5)), Node: uint64(w.rnd.IntN(3))},
		ContentType: "text/plain",
	}
	if w.rnd.IntN(3) == 0 {
		e.Expires = testNow + 1000*int64(w.rnd.IntN(5)-2)
	}
	if w.rnd.IntN(5) == 0 {
		e.Deleted, e.ContentType = true, ""
		return e
	}
	// Versions may repeat, and then the value must too.
	size := 1 << w.rnd.IntN(8)
	if w.rnd.IntN(40) == 0 {
		size = 10 << 10
	}
	e.Value = bytes.Repeat(fmt.Appendf(nil, "%d ", w.time), size)
	e.Version.Time = w.time
	return e
}

func (w *workload) batch() []kv.Entry {
	batch := make([]kv.Entry, 1+w.rnd.IntN(8))
	for i := range batch {
		batch[i] = w.entry()
	}
	return batch
}

// step makes one call, and notes in the model what became of it.
func (w *workload) step(s *Store, m *model) error {
	ctx := context.Background()
	switch w.rnd.IntN(12) {
	case 0:
		text := fmt.Sprint(w.time)
		err := s.SaveMeta(ctx, "identity", []byte(text))
		if err == nil {
			m.meta = text
		}
		return err
	case 1:
		// What it makes of an expired entry is the same to everybody but
		// the model, so let the model look.
		_, err := s.Expire(ctx, testNow, 1+w.rnd.IntN(20))
		for key := range m.keys() {
			for _, e := range append(slices.Clone(m.maybe[key]), m.sure[key]) {
				if e.Expired(testNow) && !e.Deleted {
					m.offered([]kv.Entry{{Key: []byte(key), Version: e.Version, Expires: e.Expires, Deleted: true}})
				}
			}
		}
		return err
	case 2:
		return w.purge(s, m)
	}
	batch := w.batch()
	err := s.Apply(ctx, batch, nil)
	if err == nil {
		m.acknowledged(batch)
	} else {
		m.offered(batch)
	}
	return err
}

// purge purges what is held of a key, as far as the model knows.
func (w *workload) purge(s *Store, m *model) error {
	key := fmt.Sprintf("key %d", w.rnd.IntN(40))
	sure, ok := m.sure[key]
	if !ok {
		sure.Version.Time = 1 << 60 // which no entry has
	}
	var purged [1]bool
	err := s.Purge(context.Background(), []kv.Ref{{Key: []byte(key), Version: sure.Version}}, purged[:])
	certain := len(m.maybe[key]) == 0 && !m.loose[key]
	switch {
	case purged[0]:
		delete(m.sure, key)
		delete(m.maybe, key)
		delete(m.loose, key)
	case err != nil:
		m.loose[key] = true
	case ok && certain:
		return fmt.Errorf("purge of %q of version %v, which is held, did nothing", key, sure.Version)
	}
	return err
}

func crashConfig(fs vfs.FS) config {
	cfg := small("/data/store", fs)
	cfg.partitions = 5
	return cfg
}

// TestCrash cuts the power again and again: what was acknowledged is there
// afterwards, what was not is there as a whole or not at all, and the counts
// are those of what is there.
func TestCrash(t *testing.T) {
	t.Parallel()
	seeds := uint64(12)
	if raceEnabled || testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &workload{rnd: rand.New(rand.NewPCG(seed, 1))}
			m, fs := newModel(), vfs.NewCrashableMem()
			for range 8 {
				s := mustOpen(t, crashConfig(fs))
				m.check(t, s)
				checkMeta(t, s, m.meta)
				for range w.rnd.IntN(40) {
					if err := w.step(s, m); err != nil {
						t.Fatal(err)
					}
				}
				after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.rnd.IntN(3) * 50, RNG: w.rnd})
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				fs = after
			}
		})
	}
}

func checkMeta(t testing.TB, s *Store, want string) {
	t.Helper()
	data, err := s.LoadMeta(context.Background(), "identity")
	if want == "" && errors.Is(err, kv.ErrNotFound) {
		return
	}
	if err != nil || string(data) != want {
		t.Fatalf("metadata are %q, %v, want %q", data, err, want)
	}
}

// TestReopen closes and opens a store with all kinds of entries.
func TestReopen(t *testing.T) {
	t.Parallel()
	cfg := crashConfig(vfs.Default)
	cfg.dir = t.TempDir() + "/not/there/yet"
	w := &workload{rnd: rand.New(rand.NewPCG(1, 1))}
	m := newModel()
	for range 4 {
		s := mustOpen(t, cfg)
		m.check(t, s)
		checkMeta(t, s, m.meta)
		for range 30 {
			if err := w.step(s, m); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoSyncMetadata: metadata survive a crash also where entries need not, and
// with them what was written before.
func TestNoSyncMetadata(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	cfg := crashConfig(fs)
	cfg.noSync = true
	s := mustOpen(t, cfg)
	if s.Durable() {
		t.Error("a store with NoSync says that it is durable")
	}
	m := newModel()
	w := &workload{rnd: rand.New(rand.NewPCG(2, 2))}
	m.acknowledged([]kv.Entry{w.entry()})
	for _, e := range m.sure {
		if err := s.Apply(context.Background(), []kv.Entry{e}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveMeta(context.Background(), "identity", []byte("me")); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, crashConfig(after))
	defer s.Close()
	checkMeta(t, s, "me")
	m.check(t, s)
	if !s.Durable() {
		t.Error("a store without NoSync says that it is not durable")
	}
}
