package antientropy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// The digests of two releases must be the same, or every partition would be
// walked for as long as both run in a cluster.
func TestDigestIsPartOfTheProtocol(t *testing.T) {
	t.Parallel()
	f := newFake("n1", 1)
	f.put(entry("apple", 1, "x"), entry("pear", 2<<16, "y"), entry("fig", 3<<16|4, ""))
	d := f.trees.Digest(0)
	if want := uint64(0x9a55f105edf1b841); d.Root != want {
		t.Errorf("root is %#x, want %#x", d.Root, want)
	}
}

func TestDigestDoesNotDependOnHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.SliceOf(anEntry()).Draw(t, "history")
		a, b := newFake("a", 2), newFake("b", 2)
		a.put(history...)
		b.put(rapid.Permutation(history).Draw(t, "permuted")...)
		b.put(history...)
		for p := range 2 {
			da, db, want := a.trees.Digest(p), b.trees.Digest(p), digestOf(a, p)
			if !da.Alike(&db) || da != want {
				t.Fatalf("digests of partition %d: %x, %x, by a scan %x", p, da, db, want)
			}
		}
	})
}

// anEntry draws an entry of a few keys and versions, among them tombstones.
func anEntry() *rapid.Generator[kv.Entry] {
	return rapid.Custom(func(t *rapid.T) kv.Entry {
		at := rapid.Uint64Range(1, 20).Draw(t, "at")
		key := fmt.Sprintf("k%02d", rapid.IntRange(0, 40).Draw(t, "key"))
		e := entry(key, at, fmt.Sprintf("%s at %d", key, at)) // a version has one value
		e.Deleted = at%5 == 0
		if at%4 == 0 { // it has expired, and is a tombstone already where it was swept
			e.Expires = int64(at)
			e.Deleted = rapid.Bool().Draw(t, "swept")
		}
		if e.Deleted {
			e.Value = nil
		}
		return e
	})
}

func TestDigestTellsApart(t *testing.T) {
	t.Parallel()
	base := func() *fake {
		f := newFake("n", 1)
		for i := range 100 {
			f.put(entry(fmt.Sprint(i), 1, ""))
		}
		return f
	}
	tests := map[string]struct {
		change func(*fake)
		alike  bool
	}{
		"nothing":       {func(*fake) {}, true},
		"a key more":    {func(f *fake) { f.put(entry("x", 1, "")) }, false},
		"a key fewer":   {func(f *fake) { f.lose("5"); f.sumUp() }, false},
		"a newer entry": {func(f *fake) { f.put(entry("5", 2, "")) }, false},
		"another node's": {func(f *fake) {
			f.put(kv.Entry{Key: []byte("5"), Version: kv.Version{Time: 1, Node: 8}})
		}, false},
		"versions changed round": {func(f *fake) {
			f.put(entry("5", 2, ""), entry("6", 3, ""))
			g := base()
			g.put(entry("5", 3, ""), entry("6", 2, ""))
			if a, b := f.trees.Digest(0), g.trees.Digest(0); a.Alike(&b) {
				t.Error("digests do not tell who has which version")
			}
		}, false},
		"an entry swept": {func(f *fake) {
			e := entry("5", 1, "")
			e.Deleted = true
			f.put(e)
		}, true},
		"unknown": {func(f *fake) { f.trees.Forget(0) }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := base()
			test.change(f)
			a, b := base().trees.Digest(0), f.trees.Digest(0)
			if got := a.Alike(&b); got != test.alike {
				t.Errorf("alike: %v, want %v", got, test.alike)
			}
			if got := differing(&a, &b) == 0; got != test.alike {
				t.Errorf("no buckets differ: %v, want %v", got, test.alike)
			}
		})
	}
}

// The keys of a partition must spread over its buckets, although their hashes
// have the lower bits in common.
func TestBucketsAreEven(t *testing.T) {
	t.Parallel()
	var counts [Buckets]int
	for i := range uint64(16_000) {
		counts[bucketOf(i<<12|77)]++
	}
	for i, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("bucket %d has %d keys of 16000", i, n)
		}
	}
}

func TestDigestText(t *testing.T) {
	t.Parallel()
	f := newFake("n1", 1)
	f.put(entry("apple", 1, "x"), entry("pear", 2, "y"))
	in := []Digest{{}, f.trees.Digest(0), Unknown()}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out []Digest
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(in) != fmt.Sprint(out) {
		t.Errorf("%v became %v", in, out)
	}
	if out[2].Known() || out[2].Alike(&out[2]) || !out[1].Known() || !out[0].Empty() || out[1].Empty() {
		t.Errorf("%v: known or empty is wrong", out)
	}
}

func FuzzDigestText(f *testing.F) {
	full, _ := Digest{Root: 3, Buckets: [Buckets]uint64{1, 2}}.MarshalText()
	for _, seed := range []string{"", "?", "AAAA", "====", string(full), string(full) + "A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d Digest
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		again, err := d.MarshalText()
		var e Digest
		if err != nil || e.UnmarshalText(again) != nil || d != e {
			t.Errorf("%q became %x, then %q, then %x", text, d, again, e)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	trees := NewTrees(kv.DefaultPartitions)
	key := []byte("user:0123456789abcdef")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		at := rand.Uint64()
		for pb.Next() {
			at++
			p := int(at % kv.DefaultPartitions)
			trees.Begin(p)
			trees.Update(p, key, kv.Version{Time: at, Node: 1}, kv.Version{Time: at + 1, Node: 1})
			trees.End(p)
		}
	})
}
