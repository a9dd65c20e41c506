package client_test

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

func TestGetReturnsTheValueAndWhatIsKnownOfIt(t *testing.T) {
	t.Parallel()
	value := "\x00\xff raw\n"
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "image/png")
		h.Set("ETag", `"18c-1"`)
		h.Set("Last-Modified", "Tue, 03 Mar 2026 10:00:00 GMT")
		h.Set("ThunderDB-Expires", "2026-03-03T11:00:00.5Z")
		h.Set("ThunderDB-Owner", "n2")
		h.Set("ThunderDB-Receipt", "n=1; r=1; answered=1; repaired=0; ring=3")
		h.Set("Content-Length", "7")
		io.WriteString(w, value)
	})
	c := newClient(t, client.Options{}, addr)
	want := client.Item{
		Value: []byte(value), Size: 7, ContentType: "image/png", ETag: `"18c-1"`,
		Modified: time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC),
		Expires:  time.Date(2026, 3, 3, 11, 0, 0, 5e8, time.UTC),
		Owner:    "n2", Receipt: "n=1; r=1; answered=1; repaired=0; ring=3",
	}
	got, err := c.Get(t.Context(), "k")
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("Get = %+v, %v\nwant  %+v", got, err, want)
	}
	want.Value = nil
	got, err = c.Head(t.Context(), "k")
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("Head = %+v, %v\nwant   %+v", got, err, want)
	}
}

func TestGetOfAValueOfUnknownLength(t *testing.T) {
	t.Parallel()
	addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "in ")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "pieces")
	})
	got, err := newClient(t, client.Options{}, addr).Get(t.Context(), "k")
	if err != nil || string(got.Value) != "in pieces" || got.Size != 9 {
		t.Errorf("Get = %+v, %v", got, err)
	}
}

func TestGetWithAConditionThatFailsIsNotModified(t *testing.T) {
	t.Parallel()
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"1", "2"` {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	item, err := newClient(t, client.Options{}, addr).Get(t.Context(), "k", client.IfNoneMatch(`"1"`, `"2"`))
	if item != nil || !errors.Is(err, client.ErrNotModified) {
		t.Errorf("Get = %v, %v, want ErrNotModified", item, err)
	}
}

// What an option asks for must be what is sent, and an empty value must not be
// sent as none.
func TestWhatAWriteSends(t *testing.T) {
	t.Parallel()
	type sent struct {
		method, path, body string
		length             int64
		header             map[string]string
	}
	var last sent
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last = sent{r.Method, r.URL.Path, string(body), r.ContentLength, map[string]string{}}
		for _, name := range []string{"Content-Type", "If-Match", "If-None-Match", "ThunderDB-TTL", "ThunderDB-Consistency"} {
			if v := r.Header.Get(name); v != "" {
				last.header[name] = v
			}
		}
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("ThunderDB-Owner", "n3")
		w.Header().Set("ThunderDB-Receipt", "n=1")
		if r.Method == http.MethodPut && r.ContentLength > 0 {
			w.WriteHeader(http.StatusCreated)
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c := newClient(t, client.Options{}, addr)

	res, err := c.Put(t.Context(), "a/b", []byte("v"), client.TTL(90*time.Second), client.ContentType("text/html"),
		client.IfMatch(`"6"`), client.WithConsistency(client.All))
	if err != nil || *res != (client.PutResult{ETag: `"7"`, Created: true, Owner: "n3", Receipt: "n=1"}) {
		t.Errorf("Put = %+v, %v", res, err)
	}
	want := sent{"PUT", "/v1/kv/a/b", "v", 1, map[string]string{
		"Content-Type": "text/html", "If-Match": `"6"`, "ThunderDB-TTL": "1m30s", "ThunderDB-Consistency": "all"}}
	if !reflect.DeepEqual(last, want) {
		t.Errorf("sent %+v\nwant %+v", last, want)
	}

	res, err = c.Put(t.Context(), "k", nil)
	if err != nil || res.Created {
		t.Errorf("Put = %+v, %v", res, err)
	}
	if want := (sent{"PUT", "/v1/kv/k", "", 0, map[string]string{}}); !reflect.DeepEqual(last, want) {
		t.Errorf("sent %+v\nwant %+v", last, want)
	}

	if err := c.Delete(t.Context(), "k", client.IfMatch("*")); err != nil {
		t.Error(err)
	}
	if want := (sent{"DELETE", "/v1/kv/k", "", 0, map[string]string{"If-Match": "*"}}); !reflect.DeepEqual(last, want) {
		t.Errorf("sent %+v\nwant %+v", last, want)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:8080":          "http://127.0.0.1:8080/v1/kv/k",
		"http://[::1]:8080":       "http://[::1]:8080/v1/kv/k",
		"https://db.example/":     "https://db.example/v1/kv/k",
		"db:1":                    "http://db:1/v1/kv/k",
		"":                        "",
		"http://":                 "",
		"ftp://db:1":              "",
		"http://db:1/prefix":      "",
		"http://db:1?q=1":         "",
		"http://user:pw@db:1":     "",
		"http://db:notaport":      "",
		"127.0.0.1:1,127.0.0.1:2": "",
	} {
		var got string
		c, err := client.Options{HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return answer(r, 200), nil
		})}}.New(addr)
		if (err == nil) != (want != "") {
			t.Errorf("New(%q): %v", addr, err)
		}
		if err != nil {
			continue
		}
		if _, err := c.Get(t.Context(), "k"); err != nil || got != want {
			t.Errorf("with %q, asked %s, %v, want %s", addr, got, err, want)
		}
	}
}
