package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

func TestParseTags(t *testing.T) {
	t.Parallel()
	const a, b = `"0190000000010000-0000000000000007"`, `"0190000000020000-0000000000000007"`
	for list, want := range map[string]struct {
		strong, weak int // versions found; -1 is an error, -2 any
	}{
		a: {1, 1}, a + ", " + b: {2, 2}, a + "," + b + ",": {2, 2}, ",, " + a: {1, 1}, "W/" + a: {0, 1},
		"W/" + a + ", " + b: {1, 2}, "*": {-2, -2}, " * ": {-2, -2}, `"x"`: {0, 0}, `""`: {0, 0}, `"*"`: {0, 0},
		strings.ToUpper(a): {1, 1}, `"a,b", ` + a: {1, 1},
		"": {-1, -1}, ",": {-1, -1}, "x": {-1, -1}, `"x`: {-1, -1}, "w/" + a: {-1, -1}, a + b: {-1, -1},
		"*, " + a: {-1, -1}, a + ", *": {-1, -1}, `"a b"`: {-1, -1}, strings.Trim(a, `"`): {-1, -1},
	} {
		for _, strong := range []bool{true, false} {
			versions, anyVersion, err := parseTags([]string{list}, strong)
			got, wanted := len(versions), want.weak
			if strong {
				wanted = want.strong
			}
			switch {
			case err != nil:
				got = -1
			case anyVersion:
				got = -2
			}
			if got != wanted {
				t.Errorf("%q, strong %v: %d, want %d", list, strong, got, wanted)
			}
		}
	}
}

// A tag that is one of ours but for its case is not ours: tags are opaque.
func TestTagsAreOpaque(t *testing.T) {
	t.Parallel()
	if found, _, _ := parseTags([]string{`"01900000000a0000-0000000000000007"`}, true); len(found) != 1 {
		t.Error("ours is not known")
	}
	if found, _, _ := parseTags([]string{`"01900000000A0000-0000000000000007"`}, true); len(found) != 0 {
		t.Error("another's is taken for ours")
	}
}

// FuzzTags parses lists of entity tags: what is found stands in the list, and
// a weak comparison finds all that a strong one does.
func FuzzTags(f *testing.F) {
	f.Add(`"0190000000010000-0000000000000007", W/"x",`)
	f.Add(`*`)
	f.Fuzz(func(t *testing.T, list string) {
		strong, any1, err1 := parseTags([]string{list}, true)
		weak, any2, err2 := parseTags([]string{list}, false)
		if (err1 == nil) != (err2 == nil) || any1 != any2 || len(strong) > len(weak) {
			t.Errorf("strong: %v %v %v, weak: %v %v %v", strong, any1, err1, weak, any2, err2)
		}
		for _, v := range weak {
			if !strings.Contains(list, etag(v)) {
				t.Errorf("%v is not in %q", v, list)
			}
		}
		var c kv.Condition
		if given, err := parseCondition(http.Header{"If-Match": {list}}, &c); !given && err == nil {
			t.Error("a header is not seen")
		}
	})
}
