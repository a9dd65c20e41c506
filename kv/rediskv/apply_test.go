package rediskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// at returns the nth version.
func at(n int) kv.Version { return kv.Version{Time: uint64(n), Node: 1} }

// put applies entries, and fails the test on an error.
func put(t testing.TB, s *Store, entries ...kv.Entry) []kv.Applied {
	t.Helper()
	done := make([]kv.Applied, len(entries))
	if err := s.Apply(context.Background(), entries, done); err != nil {
		t.Fatal(err)
	}
	return done
}

// TestRank: the script orders versions as kv does, whatever their bits.
func TestRank(t *testing.T) {
	t.Parallel()
	s := open(t, commonServer(t).url(), Options{})
	word := rapid.OneOf(
		rapid.SampledFrom([]uint64{
			0, 1, 0x7f, 0x80, 0xff, 0x100, 1<<16 - 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<48 - 1, 1 << 48,
			1 << 53, 1<<53 + 1, 1 << 63, 1<<63 + 1, 1<<64 - 2, 1<<64 - 1, 0x4100000000000000, 0x6100000000000000,
		}), rapid.Uint64())
	version := rapid.Custom(func(t *rapid.T) kv.Version {
		return kv.Version{Time: word.Draw(t, "time"), Node: word.Draw(t, "node")}
	})
	keys := 0
	rapid.Check(t, func(rt *rapid.T) {
		var batch []kv.Entry
		for i := range 40 {
			keys++
			one := kv.Entry{Key: fmt.Append(nil, keys), Version: version.Draw(rt, "one"), Deleted: rapid.Bool().Draw(rt, "deleted")}
			two := one
			two.Deleted = rapid.Bool().Draw(rt, "deleted too")
			if i%4 > 0 {
				two.Version.Time = version.Draw(rt, "time").Time
			}
			if i%4 > 1 {
				two.Version.Node = version.Draw(rt, "node").Node
			}
			batch = append(batch, one, two)
		}
		done := put(t, s, batch...)
		for i := 0; i < len(batch); i += 2 {
			want := batch[i]
			if batch[i+1].Supersedes(&want) {
				want = batch[i+1]
			}
			got, err := s.Get(context.Background(), want.Key, nil)
			if err != nil || got.Version != want.Version || got.Deleted != want.Deleted ||
				done[i+1] != (kv.Applied{Held: want.Version, Was: batch[i].Version}) {
				rt.Fatalf("after %+v and %+v, Get = %+v, %v, done %v", batch[i], batch[i+1], got, err, done[i+1])
			}
		}
	})
}

// TestLargeBatch: a batch of many pieces and windows comes back whole.
func TestLargeBatch(t *testing.T) {
	t.Parallel()
	for _, url := range []string{commonServer(t).url(), commonCluster(t)} {
		s := open(t, url, Options{})
		var batch []kv.Entry
		var keys [][]byte
		for i := range 5000 {
			size := 10
			if i%500 == 0 {
				size = 1 << 20
			}
			batch = append(batch, kv.Entry{Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{byte(i)}, size), Version: at(i)})
			keys = append(keys, batch[i].Key)
		}
		put(t, s, batch...)
		done := put(t, s, slices.Repeat([]kv.Entry{{Key: keys[0]}}, 3)...)
		if want := slices.Repeat([]kv.Applied{{Held: at(0), Was: at(0)}}, 3); !slices.Equal(done, want) {
			t.Errorf("done is %v, want %v", done, want)
		}
		found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
		s.GetBatch(context.Background(), keys, found, errs)
		for i := range keys {
			if errs[i] != nil || !bytes.Equal(found[i].Value, batch[i].Value) || found[i].Version != at(i) {
				t.Fatalf("key %d: %v, %v, %d bytes", i, errs[i], found[i].Version, len(found[i].Value))
			}
		}
		if st := s.Stats(0); st.Entries != 5000 || st.Keys != 5000 {
			t.Errorf("Stats = %+v", st)
		}
	}
}

// TestWindow: what is on its way at once is bounded.
func TestWindow(t *testing.T) {
	t.Parallel()
	small, large := kv.Entry{}, kv.Entry{Value: make([]byte, 1<<20)}
	for _, c := range []struct {
		entries []kv.Entry
		want    int
	}{
		{slices.Repeat([]kv.Entry{small}, windowEntries), windowEntries},
		{slices.Repeat([]kv.Entry{small}, windowEntries+1), windowEntries},
		{slices.Repeat([]kv.Entry{large}, 9), 4},
		{[]kv.Entry{{Value: make([]byte, windowBytes+1)}, small}, 1},
		{[]kv.Entry{small}, 1},
	} {
		if got := window(c.entries); got != c.want {
			t.Errorf("window of %d entries is %d, want %d", len(c.entries), got, c.want)
		}
	}
}

// TestCut: one call of the script is for few entries, those of one group in
// their order.
func TestCut(t *testing.T) {
	t.Parallel()
	for hosts, groups := range map[int]int{1: 1, 2: 3} {
		s := &Store{layout: newLayout("n", 12, groups), target: &target{hosts: make([]string, hosts)}}
		var entries []kv.Entry
		for i := range 1000 {
			entries = append(entries, kv.Entry{Key: fmt.Append(nil, i), Value: make([]byte, i/900*100_000)})
		}
		w := &writing{store: s, entries: entries, data: encode(entries)}
		w.cut()
		last, n := make([]int, groups), 0
		for _, p := range w.pieces {
			if len(p.at) > pieceEntries || p.size > pieceBytes+101_000 || len(p.keys) != 4+len(p.at)+1 ||
				len(p.args) != 2+2*len(p.at) {
				t.Errorf("a piece of %d entries, %d keys, %d arguments, %d bytes", len(p.at), len(p.keys), len(p.args), p.size)
			}
			for _, i := range p.at {
				_, group := s.layout.place(entries[i].Key)
				if !slices.Equal(p.keys[:4], s.layout.books(group)) || i < last[group] {
					t.Errorf("entry %d of group %d after %d, with %s", i, group, last[group], p.keys[0])
				}
				last[group] = i
				n++
			}
		}
		if n != len(entries) {
			t.Errorf("%d of %d entries are in pieces", n, len(entries))
		}
	}
}

// TestFull: what a full server still does, beside what the suite asks of it.
func TestFull(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := open(t, server.url(), Options{})
	ctx := context.Background()
	put(t, s,
		kv.Entry{Key: []byte("k"), Value: []byte("v"), Version: at(5)},
		kv.Entry{Key: []byte("expired"), Value: make([]byte, 100), Version: at(5), Expires: 1000})
	server.command(t, "CONFIG", "SET", "maxmemory", "1mb") // it takes more than that empty

	batch := []kv.Entry{
		{Key: []byte("k"), Version: at(4)},
		{Key: []byte("k"), Value: []byte("w"), Version: at(6)},
		{Key: []byte("other"), Value: []byte("w"), Version: at(6)},
		{Key: []byte("k"), Version: at(7), Deleted: true},
		{Key: []byte("k"), Value: []byte("w"), Version: at(6)},
	}
	done := make([]kv.Applied, len(batch))
	if err := s.Apply(ctx, batch, done); !errors.Is(err, kv.ErrFull) {
		t.Errorf("Apply in a full server: %v", err)
	}
	want := []kv.Applied{{Held: at(5), Was: at(5)}, {}, {}, {Held: at(7), Was: at(5)}, {Held: at(7), Was: at(7)}}
	if !slices.Equal(done, want) {
		t.Errorf("done is %v, want %v", done, want)
	}
	if err := s.Apply(ctx, []kv.Entry{{Key: []byte("k"), Value: []byte("w"), Version: at(6)}}, done[:1]); err != nil || done[0].Held != at(7) {
		t.Errorf("an entry that is too old, in a full server: done is %v, %v", done[0], err)
	}
	if err := s.SaveMeta(ctx, "name", []byte("data")); err != nil {
		t.Errorf("SaveMeta in a full server: %v", err)
	}
	if n, err := s.Expire(ctx, 2000, 10); n != 1 || err != nil {
		t.Errorf("Expire in a full server = %d, %v", n, err)
	}
	if st, err := s.count(ctx, 2000); err != nil || st.Entries != 2 || st.Keys != 0 {
		t.Errorf("Stats in a full server = %+v, %v", st, err)
	}
	if err := s.renew(ctx, func() bool { return false }); err != nil {
		t.Errorf("renewing the lease in a full server: %v", err)
	}
	if err := s.Scan(ctx, kv.Partition([]byte("k"), kv.DefaultPartitions), nil, func(*kv.Entry) bool { return true }); err != nil {
		t.Errorf("Scan in a full server: %v", err)
	}
	purged := make([]bool, 3)
	refs := []kv.Ref{{Key: []byte("k"), Version: at(7)}, {Key: []byte("expired"), Version: at(5)}, {Key: []byte("k"), Version: at(7)}}
	if err := s.Purge(ctx, refs, purged); err != nil || !slices.Equal(purged, []bool{true, true, false}) {
		t.Errorf("Purge in a full server: %v, %v", purged, err)
	}
	if names, err := server.command(t, "KEYS", "*:p*").StringSlice(); err != nil || len(names) > 0 {
		t.Errorf("%s is left of what was purged, %v", names, err)
	}
	if st, err := s.count(ctx, 2000); err != nil || st != (kv.Stats{}) {
		t.Errorf("Stats of nothing = %+v, %v", st, err)
	}
	open(t, server.url(), Options{})

	server.command(t, "CONFIG", "SET", "maxmemory", "0")
	put(t, s, batch[2])
}

// TestCorrupt: what the store cannot have written is an error, and is not taken
// for an entry or for none.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	server := commonServer(t)
	s := open(t, server.url(), Options{})
	ctx := context.Background()
	k := []byte("k")
	hash := s.layout.hash(kv.Partition(k, kv.DefaultPartitions))
	server.command(t, "HSET", hash, "k", "0123456789abcdef")
	found, errs := make([]kv.Entry, 1), make([]error, 1)
	check := func(err error) {
		t.Helper()
		if !errors.Is(err, kv.ErrCorrupt) {
			t.Errorf("got %v, want ErrCorrupt", err)
		}
	}
	_, err := s.Get(ctx, k, nil)
	check(err)
	s.GetBatch(ctx, [][]byte{k}, found, errs)
	check(errs[0])
	check(s.Scan(ctx, kv.Partition(k, kv.DefaultPartitions), nil, func(*kv.Entry) bool { return true }))
	put(t, s, kv.Entry{Key: k, Value: []byte("v"), Version: at(1)}) // a write mends it
	if _, err := s.Get(ctx, k, nil); err != nil {
		t.Error(err)
	}
	server.command(t, "DEL", hash)
	server.command(t, "SET", hash, "a string")
	_, err = s.Get(ctx, k, nil)
	check(err)
	check(s.Apply(ctx, []kv.Entry{{Key: k}}, nil))
}

// TestNamespaces: stores of different names do not see each other's entries,
// however alike the names are.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	ctx := context.Background()
	names := []string{
		"a", "A", "a}", "{a}", "a}:p0", "a/0", "a%2F0", "a:meta", ":", "{", "}", "{}", "a ", "a\n", "a\x00", "\xff\xfe", "ä", "*", "a*",
	}
	var stores []*Store
	for i, name := range names {
		s := open(t, server.url(), Options{Namespace: name})
		stores = append(stores, s)
		put(t, s, kv.Entry{Key: []byte("k"), Value: []byte(name), Version: at(100 - i)})
		if err := s.SaveMeta(ctx, "name", []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range stores {
		name := names[i]
		if got, err := s.Get(ctx, []byte("k"), nil); err != nil || string(got.Value) != name || got.Version != at(100-i) {
			t.Errorf("%q got %q of version %v, %v", name, got.Value, got.Version, err)
		}
		if data, err := s.LoadMeta(ctx, "name"); err != nil || string(data) != name {
			t.Errorf("%q got metadata %q, %v", name, data, err)
		}
		if st := s.Stats(0); st.Entries != 1 {
			t.Errorf("%q counts %+v", name, st)
		}
	}
}

// TestGroups: the groups of a Cluster have slots that are equally far apart, as
// the server sees it.
func TestGroups(t *testing.T) {
	t.Parallel()
	s := open(t, commonCluster(t), Options{})
	if len(s.layout.groups) != clusterGroups {
		t.Fatalf("%d groups", len(s.layout.groups))
	}
	for g := range s.layout.groups {
		names := append(s.layout.books(g), s.layout.hash(g), s.layout.hash(g+clusterGroups))
		for _, name := range names {
			slot, err := s.client.ClusterKeySlot(context.Background(), name).Result()
			if err != nil || int(slot)/(slots/clusterGroups) != g {
				t.Errorf("%s of group %d has slot %d, %v", name, g, slot, err)
			}
		}
	}
}
