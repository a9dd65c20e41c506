package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// A code of the wire must come back as the one error that it stands for, or a
// caller takes a failure for another.
func TestEveryCodeComesBackAsItsError(t *testing.T) {
	t.Parallel()
	for _, code := range client.Codes() {
		t.Run(code.Name, func(t *testing.T) {
			t.Parallel()
			addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, code.Name, "") })
			_, err := newClient(t, client.Options{Tries: 1}, addr).Get(t.Context(), "k")
			for _, other := range client.Codes() {
				if got, want := errors.Is(err, other.Err), other.Name == code.Name; got != want {
					t.Errorf("errors.Is(%q, %q) = %v, want %v", err, other.Err, got, want)
				}
			}
			var p *client.Problem
			if !errors.As(err, &p) {
				t.Fatalf("%v (%T) holds no Problem", err, err)
			}
			if p.Status != code.Status || p.Code != code.Name || p.Node != "n1" || p.Retryable != code.Retryable {
				t.Errorf("problem = %+v, want status %d, code %s, node n1, retryable %v", *p, code.Status, code.Name, code.Retryable)
			}
		})
	}
}

func TestAnswersThatAreNoProblem(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header http.Header
		status int
		body   string
		want   error
		text   string
	}{
		{"a node's 404 without a body", http.Header{"ThunderDB-Node": {"n1"}}, 404, "", client.ErrNotFound, "key not found"},
		{"anybody's 404", http.Header{"Content-Type": {"text/plain"}}, 404, "no such page\n", nil, "no such page"},
		{"a proxy's 413", http.Header{"Content-Type": {"text/html"}}, 413, "<h1>413</h1>", client.ErrTooLarge, "too large"},
		{"a problem that is no JSON", http.Header{"Content-Type": {"application/problem+json"}}, 400, "{", client.ErrBadRequest, "malformed request"},
		{"a status nobody knows", nil, 599, "", nil, "status 599"},
		{"a redirect", http.Header{"Location": {"/v1/kv/other"}}, 301, "", nil, "moved permanently (301)"},
		{"a newer node's code", http.Header{"Content-Type": {"application/problem+json"}}, 418,
			`{"title":"short and stout","status":418,"code":"teapot"}`, nil, "short and stout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range test.header {
					w.Header()[http.CanonicalHeaderKey(name)] = values
				}
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
			})
			_, err := newClient(t, client.Options{}, addr).Get(t.Context(), "k")
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want one that says %q", err, test.text)
			}
			for _, code := range client.Codes() {
				if got, want := errors.Is(err, code.Err), errors.Is(test.want, code.Err); got != want {
					t.Errorf("errors.Is(%q, %q) = %v", err, code.Err, got)
				}
			}
		})
	}
}

func TestAProblemsBodyIsBounded(t *testing.T) {
	t.Parallel()
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusBadRequest)
		for r.Context().Err() == nil { // until the client hangs up
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	_, err := newClient(t, client.Options{}, addr).Get(t.Context(), "k")
	if !errors.Is(err, client.ErrBadRequest) || len(err.Error()) > 4096 {
		t.Errorf("error of %d bytes, want a short one that Is ErrBadRequest", len(err.Error()))
	}
}
