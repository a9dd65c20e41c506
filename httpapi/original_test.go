package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// What was put as JSON is given back as the same JSON.
func TestOriginalValues(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	for _, value := range []string{
		`"text"`, `""`, `0`, `false`, `null`, `true`, `1.50`, `12345678901234567890`, `1e400`, `-0`, `[]`, `{}`,
		`{"a":[1,{"b":"c"}]}`, `"\"\\\u0000\n😀"`, `"0"`, `"null"`, `"{\"a\":1}"`, `"<&>"`,
	} {
		if w := ask(s, "POST", "/put", `{"k\"1": `+value+`}`); w.Code != http.StatusOK || w.Body.Len() > 0 {
			t.Fatalf("%s: %d %s", value, w.Code, w.Body)
		}
		w := ask(s, "GET", "/get/k%221", "")
		if w.Code != http.StatusOK || header(w, "Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", value, w.Code, w.Body)
		}
		if got, want := w.Body.String(), `{"k\"1": `+value+"}\n"; got != want && !sameText(got, want) {
			t.Errorf("got %swant %s", got, want)
		}
		want := jsonType
		if value[0] == '"' {
			want = typeText
		}
		if e := f.entries[`k"1`]; e.ContentType != want {
			t.Errorf("%s is stored as %s", value, e.ContentType)
		}
	}
}

// sameText compares documents of strings, whose escapes may differ.
func sameText(a, b string) bool {
	var x, y map[string]string
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && x[`k"1`] == y[`k"1`]
}

func TestOriginalRoutes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, target, body string
		status               int
		want                 string
	}{
		"get":                 {"GET", "/get/a/b", "", 200, `{"a/b": "1"}` + "\n"},
		"get other JSON":      {"GET", "/get/json", "", 200, `{"json": {"a": 1}}` + "\n"},
		"get what is no JSON": {"GET", "/get/nojson", "", 200, `{"nojson": "{"}` + "\n"},
		"get absent":          {"GET", "/get/none", "", 404, "not_found"},
		"get bytes":           {"GET", "/get/bytes", "", 406, "/v1/kv"},
		"get key of bytes":    {"GET", "/get/%FF", "", 406, "/v1/kv"},
		"put nothing":         {"POST", "/put", `{}`, 400, "0 pairs"},
		"put two":             {"POST", "/put", `{"a":1,"b":2}`, 400, "2 pairs"},
		"put one name twice":  {"POST", "/put", `{"a":1,"a":1}`, 400, "2 pairs"},
		"put a list":          {"POST", "/put", `[]`, 400, "JSON object"},
		"put half":            {"POST", "/put", `{"a":1`, 400, "does not end"},
		"put more":            {"POST", "/put", `{"a":1} {}`, 400, "goes on"},
		"put bad JSON":        {"POST", "/put", `{"a":tru}`, 400, `"detail":"nothing was stored: pair 0: value: `},
		"put half a pair":     {"POST", "/put", `{"a":"\ud83d"}`, 400, "surrogate"},
		"put bytes":           {"POST", "/put", "{\"a\":\"\xff\"}", 400, "UTF-8"},
		"put no key":          {"POST", "/put", `{"":1}`, 400, "nothing was stored: pair 0: the key is empty"},
		"put long key":        {"POST", "/put", `{"` + strings.Repeat("k", 1025) + `":1}`, 400, `"key":"` + strings.Repeat("k", 1025)},
		"put key of any size": {"POST", "/put", `{"` + strings.Repeat("k", 5000) + `":1}`, 400, `limit is 1024","instance":"/put","code":"bad_request","node"`},
		"put large":           {"POST", "/put", `{"a":"` + strings.Repeat("x", 101) + `"}`, 413, `"key":"a"`},
		"put too many":        {"POST", "/put", `{"a":1,"b":2,"c":3,"d":4}`, 413, "nothing was stored: the object has more pairs than the limit of 3"},
		"delete":              {"DELETE", "/delete/a/b", "", 200, ""},
		"delete absent":       {"DELETE", "/delete/none", "", 200, ""},
		"batch":               {"POST", "/batch", `{"x":"1","y":2,"x":"3"}`, 200, ""},
		"batch, one refused":  {"POST", "/batch", `{"x":"1","refused":"2","y":"3"}`, 409, `"keys":["refused"]`},
		"ping":                {"GET", "/ping", "", 200, `{"service":"node","status":"OK"}`},
		"batch, one large": {"POST", "/batch", `{"x":"1","y":"` + strings.Repeat("v", 101) + `"}`, 413,
			"nothing was stored: pair 1: the value of 101 bytes is above the limit of 100 bytes\",\"instance\":\"/batch\",\"code\":\"too_large\",\"key\":\"y\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			s := f.serve(t, Config{Limits: Limits{Value: 100, BatchOps: 3}})
			ask(s, "PUT", "/v1/kv/a/b", "1")
			ask(s, "PUT", "/v1/kv/json", `{"a": 1}`, "Content-Type: application/json; charset=utf-8")
			ask(s, "PUT", "/v1/kv/nojson", `{`, "Content-Type: application/json")
			ask(s, "PUT", "/v1/kv/bytes", "\xff")
			ask(s, "PUT", "/v1/kv/%FF", "1")
			f.do = func(_ context.Context, op *kv.Op) error {
				if string(op.Key) == "refused" {
					return kv.ErrConflict
				}
				return nil
			}
			w := ask(s, test.method, test.target, test.body, "Content-Type: text/whatever")
			body := w.Body.String()
			if w.Code != test.status || w.Code != 200 && !strings.Contains(body, test.want) ||
				w.Code == 200 && body != test.want {
				t.Errorf("%d %s, want %d and %s", w.Code, body, test.status, test.want)
			}
			if _, deleted := f.entries["a/b"]; test.method == "DELETE" && test.target == "/delete/a/b" &&
				(!deleted || !f.entries["a/b"].Deleted) {
				t.Error("a/b is still there")
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.serve(t, Config{})
	c := dial(t, start(t, s))
	in := bufio.NewReader(c)
	get := func(query string) (string, string) {
		resp, body := exchangeRaw(t, c, in, "GET /snapshot"+query+" HTTP/1.1\r\nHost: n\r\n\r\n")
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		return body, resp.Trailer.Get("ThunderDB-Skipped")
	}
	if body, skipped := get(""); body != "{}\n" || skipped != "0" {
		t.Errorf("empty: %s, skipped %s", body, skipped)
	}
	ask(s, "POST", "/batch", `{"a":"1","b":{"x":[null]},"c":0}`)
	ask(s, "PUT", "/v1/kv/bytes", "\xff")
	ask(s, "PUT", "/v1/kv/%FF", "1")
	ask(s, "PUT", "/v1/kv/gone", "1")
	ask(s, "DELETE", "/v1/kv/gone", "")
	for _, query := range []string{"", "?scope=node", "?scope=cluster"} {
		body, skipped := get(query)
		if want := "{\"a\": \"1\",\n\"b\": {\"x\":[null]},\n\"c\": 0}\n"; body != want || skipped != "2" {
			t.Errorf("%s: %s, skipped %s", query, body, skipped)
		}
	}
}
