package memcachekv

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// TestItemKeys: keys of items are legal, and differ where keys or prefixes do.
func TestItemKeys(t *testing.T) {
	t.Parallel()
	keys := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 1, 260),
		rapid.SliceOfN(rapid.ByteRange('!', '~'), 1, 260),
		rapid.Map(rapid.IntRange(170, 1024), func(n int) []byte { return bytes.Repeat([]byte("k"), n) }),
		rapid.Map(rapid.IntRange(170, 1024), func(n int) []byte { return bytes.Repeat([]byte{0}, n) }),
	)
	prefixes := []string{newMark(), newMark(), "thunderdb:lease", "thunderdb:mark"}
	rapid.Check(t, func(t *rapid.T) {
		a, b := keys.Draw(t, "a"), keys.Draw(t, "b")
		seen := map[string]bool{}
		for _, prefix := range prefixes {
			for _, key := range [][]byte{a, b} {
				item, hashed := itemKey(prefix, key)
				if len(item) > maxItemKey || !legal([]byte(item)) {
					t.Fatalf("the item's key of %q is %q", key, item)
				}
				if hashed && len(key) < 170 {
					t.Fatalf("%d bytes %q are hashed", len(key), key)
				}
				seen[item] = true
			}
		}
		want := 2 * len(prefixes)
		if bytes.Equal(a, b) {
			want = len(prefixes)
		}
		if len(seen) != want {
			t.Fatalf("%q and %q have %d items' keys %v, want %d", a, b, len(seen), seen, want)
		}
	})
}

func TestItemsOpen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key, other := rapid.SliceOfN(rapid.Byte(), 1, 1024).Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 1, 1024).Draw(t, "other")
		e := kv.Entry{Key: key, Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"), Version: at(1), ContentType: "a/b"}
		want := kv.AppendEntry(nil, &e)
		for _, hashed := range []bool{false, true} {
			if got, ok := openItem(sealItem(&e, hashed), key, hashed); !ok || !bytes.Equal(got, want) {
				t.Fatalf("an item holds %q, %v, want %q", got, ok, want)
			}
		}
		if _, ok := openItem(sealItem(&e, true), other, true); ok != bytes.Equal(key, other) {
			t.Fatalf("the item of %q is taken for that of %q: %v", key, other, ok)
		}
		openItem(other, key, true) // anything: must not panic
	})
}

// TestCollision puts the item of one key where that of another belongs, as if
// their hashes were the same. It is a miss, and a write replaces it.
func TestCollision(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	st := open(t, Options{}, addrs...)
	one, two := bytes.Repeat([]byte("1"), 500), bytes.Repeat([]byte("2"), 500)
	first := kv.Entry{Key: one, Value: []byte("one"), Version: at(9)}
	put(t, st, first)

	mark := *st.servers[0].mark.Load()
	from, hashed := itemKey(mark, one)
	to, _ := itemKey(mark, two)
	if !hashed {
		t.Fatal("a key of 500 bytes is not hashed")
	}
	client := memcache.New(addrs...)
	defer client.Close()
	item, err := client.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Set(&memcache.Item{Key: to, Value: item.Value}); err != nil {
		t.Fatal(err)
	}
	expectNone(t, st, string(two))

	second := kv.Entry{Key: two, Value: []byte("two"), Version: at(1)} // older than what stands there
	done := make([]kv.Applied, 1)
	if err := st.Apply(context.Background(), []kv.Entry{second}, done); err != nil || done[0] != (kv.Applied{Held: at(1)}) {
		t.Errorf("Apply over another key's item: %v, done is %v", err, done[0])
	}
	expect(t, st, second)
	expect(t, st, first)
}

// TestCorruptItem: what no store can have written is said to be corrupt, until
// it is replaced.
func TestCorruptItem(t *testing.T) {
	t.Parallel()
	addrs := sharedServers(t, 1)
	st := open(t, Options{}, addrs...)
	put(t, st, entry("k", 9))
	name, _ := itemKey(*st.servers[0].mark.Load(), []byte("k"))
	client := memcache.New(addrs...)
	defer client.Close()
	if err := client.Set(&memcache.Item{Key: name, Value: []byte("nonsense")}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Get(context.Background(), []byte("k"), nil); !errors.Is(err, kv.ErrCorrupt) {
		t.Errorf("Get of nonsense: %v, want ErrCorrupt", err)
	}
	put(t, st, entry("k", 1))
	expect(t, st, entry("k", 1))
}
