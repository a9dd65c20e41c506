package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// An empty page is not the end, and a page may come from any node.
func TestKeysFollowsTheCursorToTheEnd(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":     `{"keys":[{"key":"a","etag":"\"1\"","size":3},{"key_b64":"/w==","etag":"\"2\"","size":0}],"cursor":"c1","complete":false}`,
		"c1":   `{"keys":[],"cursor":"c/2+","complete":false}`,
		"c/2+": `{"keys":[{"key":"b","etag":"\"3\"","size":1}],"cursor":"","complete":true}`,
	}
	node := func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); r.URL.Path != "/v1/keys" || q.Get("prefix") != "p&q" {
			http.Error(w, r.RequestURI, http.StatusBadRequest)
		} else {
			io.WriteString(w, pages[q.Get("cursor")])
		}
	}
	c := newClient(t, client.Options{}, fakeNode(t, node), fakeNode(t, node))
	var keys []string
	for k, err := range c.Keys(t.Context(), "p&q") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k.RawKey())
	}
	if want := []string{"a", "\xff", "b"}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
}

func TestKeysEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]http.HandlerFunc{
		"refused":        func(w http.ResponseWriter, _ *http.Request) { refuse(w, "not_supported", "") },
		"leads nowhere":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[],"cursor":"1"}`) },
		"no cursor":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) },
		"not a document": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<html>`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("cursor") != "" {
					second(w, r)
					return
				}
				io.WriteString(w, `{"keys":[{"key":"a"}],"cursor":"1"}`)
			})
			var keys, errs int
			for _, err := range newClient(t, client.Options{}, addr).Keys(t.Context(), "") {
				if err != nil {
					errs++
				} else {
					keys++
				}
			}
			if keys != 1 || errs != 1 {
				t.Errorf("%d keys and %d errors, want one each", keys, errs)
			}
		})
	}
}

func TestKeysAsksForNoPageThatNobodyWants(t *testing.T) {
	t.Parallel()
	asked := 0
	addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprintf(w, `{"keys":[{"key":"a"},{"key":"b"}],"cursor":"%d"}`, asked)
	})
	taken := 0
	for range newClient(t, client.Options{}, addr).Keys(t.Context(), "") {
		if taken++; taken == 3 {
			break
		}
	}
	if asked != 2 {
		t.Errorf("asked for %d pages, want 2", asked)
	}
}

func TestReadyAsksEachNodeOnceUntilOneIs(t *testing.T) {
	t.Parallel()
	var asked []string
	node := func(name string, ready bool) string {
		return fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, name+r.URL.Path)
			if !ready {
				refuse(w, "unavailable", "")
			}
		})
	}
	a, b, c, d := node("a", false), node("b", false), node("c", true), node("d", true)
	if err := newClient(t, client.Options{}, a, b, c, d).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := newClient(t, client.Options{}, a, b).Ready(t.Context()); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
	if want := []string{"a/readyz", "b/readyz", "c/readyz", "a/readyz", "b/readyz"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}
