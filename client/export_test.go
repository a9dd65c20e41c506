package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

func TestExportGivesEachRecordAsItComes(t *testing.T) {
	t.Parallel()
	taken := make(chan struct{})
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/v1/export?prefix=p%26%FF" {
			t.Errorf("asked %s", r.URL.RequestURI())
		}
		io.WriteString(w, `{"key":"a","value":"1","content_type":"text/plain","expires":"2026-03-03T11:00:00Z"}`+"\n")
		http.NewResponseController(w).Flush()
		<-taken // never, where the client waits for the whole
		io.WriteString(w, `{"key_b64":"/w==","value_b64":"AP8="}`+"\n")
	})
	var got []string
	for rec, err := range newClient(t, client.Options{}, addr).Export(t.Context(), "p&\xff") {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			if rec.ContentType != "text/plain" || rec.Expires == nil || !rec.Expires.Equal(time.Date(2026, 3, 3, 11, 0, 0, 0, time.UTC)) {
				t.Errorf("record %+v has lost its content type or expiry", rec)
			}
			close(taken)
		}
		got = append(got, rec.RawKey()+"="+string(rec.RawValue()))
	}
	if strings.Join(got, " ") != "a=1 \xff=\x00\xff" {
		t.Errorf("records %q", got)
	}
}

func TestExportThatIsStoppedEndsTheRequest(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for r.Context().Err() == nil {
			io.WriteString(w, `{"key":"a","value":"1"}`+"\n")
		}
	})
	for range newClient(t, client.Options{}, addr).Export(t.Context(), "") {
		break
	}
	<-ended
}

// Part of an export must not pass for the whole.
func TestExportThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	const record = `{"key":"a","value":"1"}` + "\n"
	addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, record) // whole, so that only the connection tells
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	c := newClient(t, client.Options{}, addr, addr)
	var records, errs int
	for _, err := range c.Export(t.Context(), "") {
		if err != nil {
			errs++
		} else {
			records++
		}
	}
	if records != 1 || errs != 1 {
		t.Errorf("%d records and %d errors, want one each and no second try", records, errs)
	}
	var out bytes.Buffer
	if err := c.ExportTo(t.Context(), "", &out); err == nil || out.String() != record {
		t.Errorf("ExportTo wrote %q, %v", out.String(), err)
	}
}

func TestExportGoesToAnotherNodeBeforeItHasBegun(t *testing.T) {
	t.Parallel()
	const records = "{\"key\":\"a\",\"value\":\"\\u0031\"}\n{\"key\":\"b\",  \"value\":\"2\"}\n"
	busy := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, "overloaded", "") })
	good := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, records) })
	var out bytes.Buffer
	err := newClient(t, client.Options{}, deadAddr(t), busy, good).ExportTo(t.Context(), "", &out)
	if err != nil || out.String() != records {
		t.Errorf("ExportTo wrote %q, %v, want the answer byte for byte", out.String(), err)
	}
}

func TestExportToReportsWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}\n") })
	pr, pw := io.Pipe()
	pr.CloseWithError(full)
	if err := newClient(t, client.Options{}, addr).ExportTo(t.Context(), "", pw); !errors.Is(err, full) {
		t.Errorf("error = %v, want %v", err, full)
	}
}
