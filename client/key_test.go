package client_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// FuzzKeys holds that a key, whatever its bytes, reaches a node as one path
// that decodes to it, and that nothing on the way has a reason to clean.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{
		"a/b", "a%2Fb", "//", "..", ".", "../../etc", "a/./b", "%00", "%25", "a b", "a+b", "?q#f", "\x00\xff\xfe",
		"ключ", strings.Repeat("k", 1024),
	} {
		f.Add(key)
	}
	var target string
	c, err := client.Options{HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		target = r.URL.RequestURI() // what net/http puts on the wire
		return answer(r, 200), nil
	})}}.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if _, err := c.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		escaped, ok := strings.CutPrefix(target, "/v1/kv/")
		if !ok {
			t.Fatalf("sent to %s", target)
		}
		if got, err := url.PathUnescape(escaped); err != nil || got != key {
			t.Errorf("%q was sent as %s, which is %q, %v", key, target, got, err)
		}
		if strings.ContainsAny(escaped, "/?#+ ") || escaped == "." || escaped == ".." {
			t.Errorf("%q was sent as %s", key, target)
		}
	})
}
