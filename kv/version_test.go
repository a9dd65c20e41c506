package kv

import (
	"cmp"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func versions() *rapid.Generator[Version] {
	return rapid.Custom(func(t *rapid.T) Version {
		part := rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64())
		return Version{Time: part.Draw(t, "time"), Node: part.Draw(t, "node")}
	})
}

// TestVersionText: a version survives being printed, and text order is version
// order.
func TestVersionText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v, w := versions().Draw(t, "v"), versions().Draw(t, "w")
		back, err := ParseVersion(v.String())
		if err != nil || back != v {
			t.Fatalf("%v reads back as %v, %v", v, back, err)
		}
		if got, want := v.Compare(w), cmp.Compare(v.String(), w.String()); got != want || got != -w.Compare(v) {
			t.Fatalf("%v compared with %v is %d, their texts %d", v, w, got, want)
		}
	})
}

func TestVersionWall(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 3, 2, 1, 7e6, time.UTC)
	v := Version{Time: uint64(at.UnixMilli())<<16 | math.MaxUint16}
	if got := v.Wall(); !got.Equal(at) {
		t.Errorf("Wall() = %v, want %v", got, at)
	}
}

// FuzzParseVersion: what is taken prints as it was read, for tags are compared
// by their bytes; all else is ErrBadVersion.
func FuzzParseVersion(f *testing.F) {
	f.Add("018bcfe568000001-00000000000000ff")
	f.Add("018BCFE568000001-00000000000000FF")
	f.Add("+18bcfe568000001-0_00000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVersion(text)
		switch {
		case err == nil && v.String() != text:
			t.Errorf("%q is read as %v", text, v)
		case err != nil && (!errors.Is(err, ErrBadVersion) || v != Version{}):
			t.Errorf("%q: %v, %v", text, v, err)
		}
	})
}
