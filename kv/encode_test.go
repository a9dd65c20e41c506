package kv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func drawEncodable(t *rapid.T, name string) Entry {
	e := Entry{
		Version:     versions().Draw(t, name),
		Deleted:     rapid.Bool().Draw(t, "deleted"),
		ContentType: rapid.SampledFrom([]string{"", "text/plain", "application/json", "x/y; z=1"}).Draw(t, "type"),
		Value:       rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value"),
	}
	if rapid.Bool().Draw(t, "expires") {
		e.Expires = rapid.Int64().Draw(t, "at")
	}
	return e
}

func TestEntryEncoding(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := drawEncodable(t, "version")
		data := AppendEntry([]byte("before"), &e)[len("before"):]
		got, err := ParseEntry(data)
		if err != nil || got.Key != nil || !bytes.Equal(got.Value, e.Value) || got.Version != e.Version ||
			got.Deleted != e.Deleted || got.Expires != e.Expires || got.ContentType != e.ContentType {
			t.Fatalf("ParseEntry of %+v = %+v, %v", e, got, err)
		}
		for n := range len(data) - len(e.Value) {
			if _, err := ParseEntry(data[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("ParseEntry of the first %d of %d bytes: %v, want ErrCorrupt", n, len(data), err)
			}
		}
	})
}

// TestRankDecides: the first RankSize bytes, compared as numbers and by the
// highest bit of the last, say what Supersedes says.
func TestRankDecides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawEncodable(t, "a"), drawEncodable(t, "b")
		if rapid.Bool().Draw(t, "same version") {
			b.Version = a.Version
		}
		ra, rb := AppendEntry(nil, &a)[:RankSize], AppendEntry(nil, &b)[:RankSize]
		ra[RankSize-1] &= 0x80
		rb[RankSize-1] &= 0x80
		if got := bytes.Compare(ra, rb) > 0; got != a.Supersedes(&b) {
			t.Fatalf("%x above %x: %v; %+v supersedes %+v: %v", ra, rb, got, a, b, !got)
		}
	})
}

// TestEncodingIsFixed: entries are on disks, so their bytes may not change.
func TestEncodingIsFixed(t *testing.T) {
	t.Parallel()
	e := Entry{Version: Version{Time: 0x0102, Node: 0x0304}, Expires: 5, Deleted: true, ContentType: "a/b", Value: []byte("v")}
	const want = "0000000000000102" + "0000000000000304" + "81" + "0000000000000005" + "03" + "612f62" + "76"
	if got := hex.EncodeToString(AppendEntry(nil, &e)); got != want {
		t.Errorf("AppendEntry = %s, want %s", got, want)
	}
	if _, err := ParseEntry(append(make([]byte, 16), 0x02, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("ParseEntry with an unknown flag: %v, want ErrCorrupt", err)
	}
}

func FuzzParseEntry(f *testing.F) {
	e := Entry{Version: Version{Time: 1, Node: 2}, Expires: 5, ContentType: "a/b", Value: []byte("v")}
	f.Add(AppendEntry(nil, &e))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEntry(data)
		if err != nil {
			return
		}
		// A length may be written longer than it need be, and an expiry of 0.
		again, err := ParseEntry(AppendEntry(nil, &e))
		if err != nil || !bytes.Equal(again.Value, e.Value) || again.Version != e.Version || again.Expires != e.Expires {
			t.Fatalf("%+v becomes %+v, %v", e, again, err)
		}
	})
}
