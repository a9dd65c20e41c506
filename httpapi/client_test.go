package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// connect returns a client of f that tries everything once.
func connect(t *testing.T, f *fake, cfg Config) *client.Client {
	t.Helper()
	c, err := client.Options{Tries: 1}.New(start(t, f.serve(t, cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The client and the server understand each other.
func TestClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := connect(t, newFake(t), Config{})
	key, value := "odd/../%2F\x00\xff key", []byte("\x00\xff value")
	put, err := c.Put(ctx, key, value, client.ContentType("a/b"), client.TTL(time.Hour), client.IfNoneMatch("*"))
	if err != nil || !put.Created || put.Owner != "n2" || !strings.Contains(put.Receipt, "acked=3") {
		t.Fatalf("put: %+v, %v", put, err)
	}
	for name, read := range map[string]func(context.Context, string, ...client.Option) (*client.Item, error){
		"get": c.Get, "head": c.Head,
	} {
		item, err := read(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if name == "get" && !bytes.Equal(item.Value, value) || item.Size != int64(len(value)) || item.ETag != put.ETag ||
			item.ContentType != "a/b" || item.Expires.IsZero() || item.Modified.IsZero() || item.Owner != "n2" {
			t.Errorf("%s: %+v", name, item)
		}
		if _, err := read(ctx, key, client.IfNoneMatch(put.ETag)); !errors.Is(err, client.ErrNotModified) {
			t.Errorf("%s not modified: %v", name, err)
		}
	}
	results, err := c.Batch(ctx, []client.BatchOp{client.GetOp(key), client.PutOp("b", nil), client.GetOp("none")})
	if err != nil || string(results[0].RawValue()) != string(value) || results[1].Err() != nil ||
		!errors.Is(results[2].Err(), client.ErrNotFound) {
		t.Errorf("batch: %+v, %v", results, err)
	}
	var keys []string
	for info, err := range c.Keys(ctx, "") {
		keys = append(keys, fmt.Sprint(info.RawKey(), info.Size, err))
	}
	if got, want := fmt.Sprintf("%q", keys), fmt.Sprintf("%q", []string{"b0 <nil>", key + "8 <nil>"}); got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
	if e, err := c.Explain(ctx, key); err != nil || e.RawKey() != key || len(e.Replicas) != 2 {
		t.Errorf("explain: %+v, %v", e, err)
	}
	if r, err := c.Ring(ctx); err != nil || r.Version != 17 {
		t.Errorf("ring: %+v, %v", r, err)
	}
	if err := c.Delete(ctx, key, client.IfMatch(put.ETag)); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(ctx, key); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("after its deletion: %v", err)
	}
}

// Import and Export of the client, over a real connection, of more than fits
// into its buffers.
func TestClientStreams(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := connect(t, f, Config{})
	const n = 5000
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "key-%d %s\n", i, strings.Repeat("v", i%100))
		if i%10 == 0 {
			in.WriteString("bad\n")
		}
	}
	bad := 0
	totals, err := c.Import(t.Context(), client.Text, strings.NewReader(in.String()), func(line client.BulkLine) {
		if line.Error != "" {
			bad++
		}
	})
	want := client.BulkLine{Read: n + n/10, Stored: n, Failed: n / 10, Done: true}
	if err != nil || totals != want || bad != n/10 {
		t.Errorf("import: %+v, %d bad lines, %v", totals, bad, err)
	}
	var out bytes.Buffer
	if err := c.ExportTo(t.Context(), "", &out); err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != n {
		t.Errorf("%d lines", lines)
	}
	f.change(func() { f.ready = node.ErrNotReady })
	if _, err := c.Import(t.Context(), client.Text, strings.NewReader("a 1\n"), nil); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("not ready: %v", err)
	}
}

// An error of the node is the same error at the client, and a write that is
// unclear is unclear there.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := connect(t, f, Config{Limits: Limits{Value: 10}})
	for _, test := range []struct {
		err     error
		want    error
		unclear bool
	}{
		{kv.ErrConflict, client.ErrConflict, false}, {kv.ErrFull, client.ErrFull, false},
		{kv.ErrPrecondition, client.ErrPrecondition, false}, {kv.ErrTooLarge, client.ErrTooLarge, false},
		{node.ErrNotReady, client.ErrUnavailable, false}, {kv.ErrClosed, client.ErrUnavailable, false},
		{errUnavailableForTest, client.ErrUnavailable, true}, {context.DeadlineExceeded, client.ErrTimeout, true},
		{errors.New("x"), client.ErrInternal, true},
	} {
		f.change(func() {
			f.do = func(context.Context, *kv.Op) error { return fmt.Errorf("wrapped: %w", test.err) }
		})
		_, err := c.Put(t.Context(), "k", nil)
		if !errors.Is(err, test.want) || errors.Is(err, client.ErrUnclear) != test.unclear {
			t.Errorf("%v arrives as %v", test.err, err)
		}
	}
	f.change(func() { f.do = nil })
	if _, err := c.Put(t.Context(), "k", make([]byte, 11)); !errors.Is(err, client.ErrTooLarge) ||
		!strings.Contains(err.Error(), "11 bytes is above the limit of 10") {
		t.Errorf("too large: %v", err)
	}
	if _, err := c.Get(t.Context(), ""); !errors.Is(err, client.ErrBadRequest) {
		t.Errorf("no key: %v", err)
	}
}
