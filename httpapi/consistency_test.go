package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// What a request asks for reaches each of its operations.
func TestConsistency(t *testing.T) {
	t.Parallel()
	const (
		batch = `[{"op":"get","key":"a"},{"op":"put","key":"a","value":"1"},{"op":"delete","key":"a"}]`
		level = "ThunderDB-Consistency: "
	)
	for _, test := range []struct {
		method, target, body, header string
		want                         []int // by operation
	}{
		{"GET", "/v1/kv/k", "", "", []int{0}},
		{"GET", "/v1/kv/k", "", level + "one", []int{1}},
		{"HEAD", "/v1/kv/k", "", level + "quorum", []int{0}},
		{"GET", "/v1/kv/k", "", level + "all", []int{kv.All}},
		{"PUT", "/v1/kv/k", "v", level + "all", []int{kv.All}},
		{"DELETE", "/v1/kv/k", "", level + "one", []int{1}},
		{"GET", "/v1/kv/k?r=2&w=3", "", "", []int{2}},
		{"PUT", "/v1/kv/k?r=2&w=3", "v", "", []int{3}},
		{"GET", "/v1/kv/k?r=2", "", level + "all", []int{2}},
		{"PUT", "/v1/kv/k?r=2", "v", level + "all", []int{kv.All}},
		{"POST", "/v1/batch?r=1&w=3", batch, "", []int{1, 3, 3}},
		{"POST", "/v1/batch", batch, level + "all", []int{kv.All, kv.All, kv.All}},
		{"POST", "/v1/batch", batch, "", []int{0, 0, 0}},
		{"POST", "/v1/bulk?w=1", "a 1\nb 2\n", "", []int{1, 1}},
		{"POST", "/v1/bulk", "a 1\n", level + "all", []int{kv.All}},
		{"GET", "/get/k?r=1", "", "", []int{1}},
		{"POST", "/put", `{"a":1}`, level + "all", []int{kv.All}},
		{"DELETE", "/delete/k?w=3", "", "", []int{3}},
		{"POST", "/batch?w=1", `{"a":1,"b":2}`, "", []int{1, 1}},
	} {
		f := newFake(t)
		var got []int
		f.do = func(_ context.Context, op *kv.Op) error {
			got = append(got, op.Need)
			return nil
		}
		headers := []string{"Content-Type: text/plain"}
		if test.header != "" {
			headers = append(headers, test.header)
		}
		ask(f.serve(t, Config{}), test.method, test.target, test.body, headers...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s %s with %q needs %v, want %v", test.method, test.target, test.header, got, test.want)
		}
	}
}

// A request for what there is not is refused by every route, and nothing of
// it done.
func TestBadConsistency(t *testing.T) {
	t.Parallel()
	for _, request := range []string{
		"GET /v1/kv/k", "PUT /v1/kv/k", "POST /v1/batch", "POST /v1/bulk", "GET /get/k", "POST /put",
		"DELETE /delete/k", "POST /batch",
	} {
		f := newFake(t)
		f.do = func(context.Context, *kv.Op) error {
			t.Errorf("%s is done", request)
			return nil
		}
		s := f.serve(t, Config{})
		method, target, _ := strings.Cut(request, " ")
		body := map[string]string{"/v1/batch": "[]", "/v1/bulk": "a 1\n", "/put": `{"a":1}`, "/batch": `{"a":1}`}[target]
		w := ask(s, method, target, body, "Content-Type: text/plain", "ThunderDB-Consistency: most")
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "ThunderDB-Consistency \\\"most\\\"") {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
		if w := ask(s, method, target+"?w=0", body, "Content-Type: text/plain"); w.Code != http.StatusBadRequest ||
			!strings.Contains(w.Body.String(), `w=\"0\"`) {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
	// A bulk load is refused as a whole, and not a record at a time.
	w := ask(newFake(t).serve(t, Config{}), "POST", "/v1/bulk?w=2", "a 1\n", "Content-Type: text/plain")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "which is 1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Receipts are told also of what failed, and one that says that a replica has
// the write makes it unclear whatever the error.
func TestReceiptOfAFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, target string
		err            error
		acked          int
		status         int
		receipt        string
		unknown        bool
	}{
		{"PUT", "/v1/kv/k", peer.ErrUnavailable, 1, 503, "n=3; w=2; acked=1; durable=0; hinted=0; ring=17", true},
		{"PUT", "/v1/kv/k?w=3", peer.ErrOverloaded, 1, 429, "n=3; w=3; acked=1; durable=0; hinted=0; ring=17", true},
		{"PUT", "/v1/kv/k", peer.ErrStale, 0, 503, "n=3; w=2; acked=0; durable=0; hinted=0; ring=17", false},
		{"PUT", "/v1/kv/k", kv.ErrFull, 1, 507, "n=3; w=2; acked=1; durable=0; hinted=0; ring=17", true},
		{"PUT", "/v1/kv/k", kv.ErrConflict, 1, 409, "n=3; w=2; acked=1; durable=0; hinted=0; ring=17", false},
		{"GET", "/v1/kv/k", peer.ErrUnavailable, 1, 503, "n=3; r=2; answered=1; repaired=0; ring=17", false},
		{"GET", "/get/k", peer.ErrUnavailable, 1, 503, "n=3; r=2; answered=1; repaired=0; ring=17", false},
		{"DELETE", "/delete/k", peer.ErrStale, 1, 503, "n=3; w=2; acked=1; durable=0; hinted=0; ring=17", true},
		{"GET", "/v1/kv/k", kv.ErrNotFound, 2, 404, "n=3; r=2; answered=2; repaired=0; ring=17", false},
		{"GET", "/v1/kv/k?r=9", nil, 0, 400, "", false},
	} {
		f := newFake(t)
		f.acked, f.do = test.acked, func(context.Context, *kv.Op) error { return fmt.Errorf("n1: %w", test.err) }
		w := ask(f.serve(t, Config{}), test.method, test.target, "")
		unknown := strings.Contains(w.Body.String(), `"applied":"unknown"`)
		if w.Code != test.status || header(w, headerReceipt) != test.receipt || unknown != test.unknown {
			t.Errorf("%s %s with %v: %d %q %s", test.method, test.target, test.err, w.Code, header(w, headerReceipt), w.Body)
		}
	}
}

// In a batch each operation is judged by itself.
func TestReceiptInABatch(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.acked, f.do = 1, func(context.Context, *kv.Op) error { return kv.ErrFull }
	w := ask(f.serve(t, Config{}), "POST", "/v1/batch?r=4", `[{"op":"get","key":"a"},{"op":"put","key":"a","value":"1"}]`)
	want := `[{"op":"get","key":"a","status":400,"error":"4: more replicas asked for than the key has, which is 3"},` +
		`{"op":"put","key":"a","status":507,"error":"store full; it may or may not have been stored"}]` + "\n"
	if w.Body.String() != want {
		t.Errorf("got %swant %s", w.Body, want)
	}
}

// A clock that cannot be trusted is called that, and its node named.
func TestClockProblems(t *testing.T) {
	t.Parallel()
	for err, title := range map[error]string{
		peer.ErrClock: peer.ErrClock.Error(), kv.ErrClockCeiling: kv.ErrClockCeiling.Error(),
	} {
		f := newFake(t)
		f.do = func(context.Context, *kv.Op) error { return fmt.Errorf("n2 is 900ms ahead of n3: %w", err) }
		w := ask(f.serve(t, Config{}), "PUT", "/v1/kv/k", "v")
		for _, want := range []string{`"title":"` + title, "n2 is 900ms ahead of n3", `"node":"n1"`, `"code":"unavailable"`} {
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%v: %d %s, want %s", err, w.Code, w.Body, want)
			}
		}
	}
}
