package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
)

// RawKey returns the key, which may hold any bytes.
func (r *Record) RawKey() string { return decode(r.Key, r.KeyB64) }

// RawValue returns the value.
func (r *Record) RawValue() []byte { return []byte(decode(r.Value, r.ValueB64)) }

var errStopped = errors.New("stopped")

// Export gives the cluster's live records whose keys begin with prefix. It
// ends with the first error; without one, it was complete.
func (c *Client) Export(ctx context.Context, prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := c.export(ctx, prefix, func(body io.Reader) error {
			records := json.NewDecoder(body)
			for {
				var rec Record
				if err := records.Decode(&rec); err == io.EOF {
					return nil
				} else if err != nil {
					return fmt.Errorf("decode record: %w", err)
				}
				if !yield(rec, nil) {
					return errStopped
				}
			}
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Record{}, err)
		}
	}
}

// ExportTo writes to w what Export gives, as NDJSON that Import takes back
// with nothing lost. After an error, what was written is not complete.
func (c *Client) ExportTo(ctx context.Context, prefix string, w io.Writer) error {
	return c.export(ctx, prefix, func(body io.Reader) error {
		_, err := io.Copy(w, body)
		return err
	})
}

func (c *Client) export(ctx context.Context, prefix string, use func(io.Reader) error) error {
	r := &request{method: http.MethodGet, path: "/v1/export", stream: true}
	if prefix != "" {
		r.query = "prefix=" + url.QueryEscape(prefix)
	}
	err := c.send(ctx, r, func(resp *http.Response) error { return use(resp.Body) })
	if err != nil {
		return fmt.Errorf("export %q: %w", prefix, err)
	}
	return nil
}
