package client_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	var sent string
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = r.Header.Get("Content-Type") + " " + string(body)
		io.WriteString(w, `[
			{"op":"put","key":"a","status":201,"etag":"\"1\""},
			{"op":"get","key_b64":"/w==","status":200,"value_b64":"AP8="},
			{"op":"get","key":"c","status":404,"error":"no such key"},
			{"op":"delete","key":"d","status":503,"error":"n2 does not answer"},
			{"op":"put","key":"e","status":507,"error":"full"}]`)
	})
	put := client.PutOp("a", []byte("\xff"))
	put.TTL = "60s"
	results, err := newClient(t, client.Options{}, addr).Batch(t.Context(), []client.BatchOp{
		put, client.GetOp("\xff"), client.GetOp("c"), client.DeleteOp("d"), client.PutOp("e", nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `application/json [{"op":"put","key":"a","value_b64":"/w==","ttl":"60s"},{"op":"get","key_b64":"/w=="},` +
		`{"op":"get","key":"c"},{"op":"delete","key":"d"},{"op":"put","key":"e","value":""}]`
	if sent != want {
		t.Errorf("sent %s\nwant %s", sent, want)
	}
	for i, want := range []error{nil, nil, client.ErrNotFound, client.ErrUnavailable, client.ErrFull} {
		err := results[i].Err()
		if !errors.Is(err, want) {
			t.Errorf("result %d: %v, want %v", i, err, want)
		}
		if got := errors.Is(err, client.ErrUnclear); got != (i == 3) {
			t.Errorf("result %d: unclear = %v: %v", i, got, err)
		}
	}
	if key, value := results[1].RawKey(), results[1].RawValue(); key != "\xff" || string(value) != "\x00\xff" {
		t.Errorf("read %q, %q", key, value)
	}
}

// An answer that does not say what became of each write leaves it unclear.
func TestBatchThatIsNotAnsweredInFull(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`[]`, `[{"op":"put"`, `null`} {
		addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
		_, err := newClient(t, client.Options{}, addr).Batch(t.Context(), []client.BatchOp{client.PutOp("k", nil)})
		if !errors.Is(err, client.ErrUnclear) {
			t.Errorf("answer %s: error = %v, want ErrUnclear", body, err)
		}
	}
}
