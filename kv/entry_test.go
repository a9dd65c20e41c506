package kv

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPartitionIsFixed: nodes and their disks agree on these numbers, so they
// may never change. They are published xxhash64 values.
func TestPartitionIsFixed(t *testing.T) {
	t.Parallel()
	for key, hash := range map[string]uint64{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"abc": 0x44bc2cf5ad770999,
	} {
		for _, count := range []int{1, 7, DefaultPartitions} {
			if got, want := Partition([]byte(key), count), int(hash%uint64(count)); got != want {
				t.Errorf("Partition(%q, %d) = %d, want %d", key, count, got, want)
			}
		}
	}
}

// TestSupersedes: of two different entries of a key exactly one supersedes the
// other, and no entry supersedes itself; else replicas would never agree.
func TestSupersedes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Entry {
			return Entry{Version: versions().Draw(t, name), Deleted: rapid.Bool().Draw(t, "deleted")}
		}
		a, b := draw("a"), draw("b")
		if rapid.Bool().Draw(t, "same version") {
			b.Version = a.Version
		}
		differ := a.Version != b.Version || a.Deleted != b.Deleted
		if a.Supersedes(&a) || (a.Supersedes(&b) != b.Supersedes(&a)) != differ {
			t.Fatalf("%+v and %+v: %v, %v", a, b, a.Supersedes(&b), b.Supersedes(&a))
		}
		if a.Version.Compare(b.Version) > 0 && !a.Supersedes(&b) {
			t.Fatalf("%+v does not supersede the older %+v", a, b)
		}
		if a.Version == b.Version && a.Deleted && !b.Deleted && !a.Supersedes(&b) {
			t.Fatalf("the tombstone does not supersede the entry of its version")
		}
	})
}

func TestLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry Entry
		want  bool
	}{
		{Entry{}, true},
		{Entry{Deleted: true}, false},
		{Entry{Expires: 99}, false},
		{Entry{Expires: 100}, false}, // from that moment on
		{Entry{Expires: 101}, true},
		{Entry{Expires: 101, Deleted: true}, false},
	} {
		if got := c.entry.Live(100); got != c.want {
			t.Errorf("%+v at 100: Live() = %v, want %v", c.entry, got, c.want)
		}
	}
}
