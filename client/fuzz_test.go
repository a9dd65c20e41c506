package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// answering returns a client whose every request is answered with status and
// body.
func answering(t testing.TB, status int, mediaType, body string) *client.Client {
	return newClient(t, client.Options{Tries: 1, HTTP: &http.Client{
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			resp := answer(r, status, "Content-Type", mediaType)
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), -1
			return resp, nil
		}),
	}})
}

// FuzzProblem holds that whatever a failing node says, it is an error that
// keeps the status and says something.
func FuzzProblem(f *testing.F) {
	f.Add(404, "application/problem+json", `{"type":"urn:x","title":"key not found","status":404,"code":"not_found","key_b64":"/w=="}`)
	f.Add(503, "application/problem+json; charset=utf-8", `{"applied":"unknown","status":"503"}`)
	f.Add(500, "text/plain", "\xff\xfe")
	f.Add(413, "text/html", "<html>")
	f.Fuzz(func(t *testing.T, status int, mediaType, body string) {
		if status < 305 || status > 999 {
			return
		}
		_, err := answering(t, status, mediaType, body).Get(t.Context(), "k")
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != status || p.Title == "" || err.Error() == "" {
			t.Errorf("error = %#v", err)
		}
	})
}

// FuzzBulkAnswer holds that a bulk load is only done where the node says so,
// and that no bad line is lost on the way.
func FuzzBulkAnswer(f *testing.F) {
	f.Add("{\"read\":1,\"stored\":1}\n\n{\"line\":2,\"error\":\"bad\"}\n{\"read\":2,\"stored\":1,\"failed\":1,\"done\":true}\n")
	f.Add("{\"read\":1}\n")
	f.Add("{\"done\":true,\"error\":\"and yet\"}")
	f.Add("null\n{}\n[]\n")
	f.Fuzz(func(t *testing.T, body string) {
		told := 0
		totals, err := answering(t, 200, "application/x-ndjson", body).
			Import(t.Context(), client.Text, strings.NewReader("a 1\n"), func(l client.BulkLine) {
				if l.Error != "" {
					told++
				}
			})
		if err == nil && !strings.Contains(strings.ToLower(body), "done") {
			t.Errorf("took %q for done: %+v, told of %d", body, totals, told)
		}
		if err == nil && !totals.Done {
			t.Errorf("totals %+v of %q, want them done", totals, body)
		}
	})
}

// FuzzExportAnswer holds that reading an export ends, and that every record of
// it comes before its error.
func FuzzExportAnswer(f *testing.F) {
	f.Add("{\"key\":\"a\",\"value\":\"1\"}\n{\"key_b64\":\"/w==\",\"value_b64\":\"AP8=\",\"expires\":\"2026-03-03T11:00:00Z\"}\n")
	f.Add("{\"key\":\"a\"")
	f.Add("{\"key\":1}\n{\"key\":\"b\"}\n")
	f.Fuzz(func(t *testing.T, body string) {
		failed := false
		for rec, err := range answering(t, 200, "application/x-ndjson", body).Export(t.Context(), "") {
			if failed {
				t.Errorf("something came after the error: %+v, %v", rec, err)
			}
			failed = err != nil
		}
	})
}
