package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// The model is a map that keeps, of the entries it is given, the one that
// supersedes the others; random calls go to it and to the store.

// drawer draws entries from few keys and versions, so that they meet. A
// version of a key always comes with the same entry, as between nodes, or with
// the tombstone that this becomes when it expires.
type drawer struct {
	keys  []string
	drawn map[string]kv.Entry // by key and version
	sizes []int               // of values
}

func newDrawer(t *rapid.T, maxValue int) *drawer {
	keyOf := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 1, 3),
		rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', '/', 0xff}), 1, 6),
		rapid.Map(rapid.IntRange(120, 1024), func(n int) []byte { return bytes.Repeat([]byte{0x80}, n) }),
	)
	text := rapid.Map(keyOf, func(b []byte) string { return string(b) })
	sizes := []int{0, 1, 36, 120, 200, 1000, 5000, 16_000, 17_000, 66_000}
	return &drawer{
		keys:  rapid.SliceOfNDistinct(text, 1, 16, rapid.ID[string]).Draw(t, "keys"),
		drawn: map[string]kv.Entry{},
		sizes: slices.DeleteFunc(sizes, func(n int) bool { return maxValue > 0 && n > maxValue }),
	}
}

func (d *drawer) key(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom(d.keys).Draw(t, "key"))
}

// entry draws an entry. Its bytes belong to the caller.
func (d *drawer) entry(t *rapid.T) kv.Entry {
	k := d.key(t)
	version := kv.Version{
		Time: start<<16 + uint64(rapid.IntRange(0, 8).Draw(t, "time")),
		Node: rapid.SampledFrom([]uint64{1, 2, 1 << 63}).Draw(t, "node"),
	}
	id := fmt.Sprintf("%s %v", k, version)
	e, ok := d.drawn[id]
	if !ok {
		e = d.content(t)
		e.Key, e.Version = k, version
		d.drawn[id] = e
	}
	if e.Expires != 0 && rapid.Bool().Draw(t, "expired") {
		e = tombstone(&e)
	}
	return clone(&e)
}

// content draws an entry without key and version.
func (d *drawer) content(t *rapid.T) kv.Entry {
	e := kv.Entry{
		Deleted: rapid.IntRange(0, 4).Draw(t, "deleted") == 4,
		Expires: rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(start-3000, start+3000)).Draw(t, "expires"),
	}
	if !e.Deleted {
		size := rapid.SampledFrom(d.sizes).Draw(t, "size")
		e.Value = bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, size)
		e.ContentType = rapid.SampledFrom([]string{"", "text/plain", "é; x=1", strings.Repeat("long/", 60)}).Draw(t, "type")
	}
	return e
}

// model is what a store must hold, by key.
type model map[string]kv.Entry

// offer does what Apply does for one entry.
func (m model) offer(e kv.Entry) kv.Applied {
	old, ok := m[string(e.Key)]
	if !ok || e.Supersedes(&old) {
		m[string(e.Key)] = e
	}
	return kv.Applied{Held: m[string(e.Key)].Version, Was: old.Version}
}

// purge does what Purge does for one ref.
func (m model) purge(ref kv.Ref) bool {
	old, ok := m[string(ref.Key)]
	if !ok || old.Version != ref.Version {
		return false
	}
	delete(m, string(ref.Key))
	return true
}

// stats returns what a Counter must answer, without Resident, as far as that is
// exact at now, a whole second.
func (m model) stats(now int64) kv.Stats {
	var st kv.Stats
	for _, e := range m {
		st.Entries++
		if e.Live(now) {
			st.Keys++
			st.Bytes += int64(len(e.Key) + len(e.Value))
		}
	}
	return st
}

// machine is a store beside its model.
type machine struct {
	*drawer
	suite *suite
	store kv.Store
	model model
}

func (s *suite) testModel(t *testing.T) {
	s.check(t, func(rt *rapid.T) {
		m := &machine{drawer: newDrawer(rt, s.MaxValue), suite: s, store: s.open(t), model: model{}}
		defer func() { m.store.Close() }()
		rt.Repeat(m.actions(t))
		m.checkScans(rt)
	})
}

// slowRounds is how many rounds of a random test a slow store gets.
const slowRounds = 20

// check is rapid.Check, but for slow stores with fewer rounds than its flags
// say: it has no other way to set them. Once a round has failed, it goes on for
// as long as rapid looks for a smaller failure.
func (s *suite) check(t *testing.T, prop func(*rapid.T)) {
	t.Helper()
	if s.Slow {
		t.Logf("the store is slow: %d rounds, whatever rapid counts", slowRounds)
	}
	rounds, failed := s.effort(math.MaxInt, slowRounds), false
	rapid.Check(t, func(rt *rapid.T) {
		if rounds--; rounds < 0 && !failed {
			return
		}
		passed := false
		defer func() { failed = failed || !passed }()
		prop(rt)
		passed = !rt.Failed()
	})
}

func (m *machine) actions(t *testing.T) map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"":      m.check,
		"apply": m.apply,
	}
	if _, ok := m.store.(kv.BatchGetter); ok {
		actions["get batch"] = m.getBatch
	}
	if _, ok := m.store.(kv.Purger); ok {
		actions["purge"] = m.purge
	}
	if _, ok := m.store.(kv.Scanner); ok {
		actions["scan"] = m.scan
	}
	if _, ok := m.store.(kv.Counter); ok {
		actions["stats"] = m.stats
	}
	if _, ok := m.store.(kv.Expirer); ok {
		actions["expire"] = m.expire
	}
	if m.suite.Reopen != nil {
		actions["reopen"] = func(rt *rapid.T) {
			// It costs the most, so it is done the least.
			if rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, "reopen") {
				m.store = m.suite.Reopen(t, m.store)
			}
		}
	}
	return actions
}

// check compares all keys that may be there.
func (m *machine) check(t *rapid.T) {
	for _, k := range m.keys {
		if want, ok := m.model[k]; ok {
			expect(t, m.store, &want)
		} else {
			expectNone(t, m.store, []byte(k))
		}
	}
}

func (m *machine) apply(t *rapid.T) {
	entries := make([]kv.Entry, rapid.IntRange(0, 24).Draw(t, "entries"))
	want := make([]kv.Applied, len(entries))
	for i := range entries {
		entries[i] = m.entry(t)
		want[i] = m.model.offer(clone(&entries[i]))
	}
	if done := apply(t, m.store, entries...); !slices.Equal(done, want) {
		t.Fatalf("Apply says %v, want %v", done, want)
	}
	scribble(entries)
}

// purge purges some versions, most of them ones that are held.
func (m *machine) purge(t *rapid.T) {
	refs := make([]kv.Ref, rapid.IntRange(0, 12).Draw(t, "refs"))
	want := make([]bool, len(refs))
	for i := range refs {
		e := m.entry(t)
		refs[i] = refOf(&e)
		if held, ok := m.model[string(e.Key)]; ok && rapid.IntRange(0, 3).Draw(t, "held") > 0 {
			refs[i].Version = held.Version
		}
		want[i] = m.model.purge(refs[i])
	}
	if purged := purge(t, m.store, refs...); !slices.Equal(purged, want) {
		t.Fatalf("Purge says %v, want %v", purged, want)
	}
	for i := range refs {
		scribble([]kv.Entry{{Key: refs[i].Key}})
	}
}

// scribble overwrites the bytes of entries that were applied: the store must
// not notice.
func scribble(entries []kv.Entry) {
	for i := range entries {
		for _, b := range [][]byte{entries[i].Key, entries[i].Value} {
			copy(b, bytes.Repeat([]byte{'#'}, len(b)))
		}
	}
}

// getBatch reads some keys at once, some of them more than once.
func (m *machine) getBatch(t *rapid.T) {
	keys := rapid.SliceOfN(rapid.Custom(m.drawer.key), 0, 24).Draw(t, "keys")
	checkBatch(t, m.store.(kv.BatchGetter), keys, m.model)
}

func (m *machine) scan(t *rapid.T) {
	partition := kv.Partition(m.key(t), m.suite.Partitions)
	from := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Custom(m.drawer.key)).Draw(t, "from")
	limit := rapid.IntRange(1, len(m.keys)).Draw(t, "limit")
	want := m.within(partition, from)
	m.compare(t, m.suite.scan(t, m.store.(kv.Scanner), partition, from, limit), want[:min(limit, len(want))])
}

// within returns the model's keys of a partition that are >= from, in order.
func (m *machine) within(partition int, from []byte) []string {
	var keys []string
	for k := range m.model {
		if kv.Partition([]byte(k), m.suite.Partitions) == partition && k >= string(from) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *machine) compare(t *rapid.T, got []kv.Entry, want []string) {
	if len(got) != len(want) {
		t.Fatalf("Scan visited %d keys, want %d", len(got), len(want))
	}
	for i, k := range want {
		if e := m.model[k]; !same(&got[i], &e) {
			t.Fatalf("Scan visited %s, want %s", describe(&got[i]), describe(&e))
		}
	}
}

// checkScans compares the partitions of all keys that may be there.
func (m *machine) checkScans(t *rapid.T) {
	scanner, ok := m.store.(kv.Scanner)
	if !ok {
		return
	}
	for _, k := range m.keys {
		p := kv.Partition([]byte(k), m.suite.Partitions)
		m.compare(t, m.suite.scan(t, scanner, p, nil, len(m.keys)+1), m.within(p, nil))
	}
}

func (m *machine) stats(t *rapid.T) {
	// Counts are exact to the second, so at whole seconds.
	now := start + 1000*rapid.Int64Range(-4, 4).Draw(t, "second")
	got, want := m.store.(kv.Counter).Stats(now), m.model.stats(now)
	if got.Resident < 0 || got.Resident == 0 && want.Entries > 0 {
		t.Fatalf("Stats say %d bytes are resident for %d entries", got.Resident, want.Entries)
	}
	if got.Resident = 0; got != want {
		t.Fatalf("Stats(%d) = %+v, want %+v", now, got, want)
	}
}

// expire lets some entries become tombstones, as many as Expire says, and none
// that has not expired.
func (m *machine) expire(t *rapid.T) {
	now := rapid.Int64Range(start-4000, start+4000).Draw(t, "now")
	budget := rapid.IntRange(0, 2*len(m.keys)).Draw(t, "budget")
	claimed, err := m.store.(kv.Expirer).Expire(context.Background(), now, budget)
	if err != nil || claimed > budget {
		t.Fatalf("Expire(%d, %d) = %d, %v", now, budget, claimed, err)
	}
	turned := 0
	for k, e := range m.model {
		got, err := m.store.Get(context.Background(), []byte(k), nil)
		if errors.Is(err, kv.ErrNotFound) {
			t.Fatalf("Expire removed %s", describe(&e))
		}
		if got.Deleted && !e.Deleted && !e.Live(now) {
			m.model[k] = tombstone(&e)
			turned++
		}
	}
	if turned != claimed {
		t.Fatalf("Expire says it made %d tombstones, but made %d", claimed, turned)
	}
}
