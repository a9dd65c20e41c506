package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Item is the value of a key and what is known of it.
type Item struct {
	Value       []byte // nil after Head
	Size        int64  // bytes of the value
	ContentType string
	ETag        string    // quotes included, ready for IfMatch
	Modified    time.Time // to the second
	Expires     time.Time // zero where it never does
	Owner       string    // the node that owns the key
	Receipt     string    // how the read came about: n=3; r=2; answered=2; ...
}

// Get returns the value of key, which may hold any bytes. It is [ErrNotFound]
// where key has none, and [ErrNotModified] where IfNoneMatch says so.
func (c *Client) Get(ctx context.Context, key string, opts ...Option) (*Item, error) {
	item, err := c.read(ctx, keyRequest(http.MethodGet, key, opts))
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	return item, nil
}

// Head is Get without the value.
func (c *Client) Head(ctx context.Context, key string, opts ...Option) (*Item, error) {
	item, err := c.read(ctx, keyRequest(http.MethodHead, key, opts))
	if err != nil {
		return nil, fmt.Errorf("head %q: %w", key, err)
	}
	return item, nil
}

func (c *Client) read(ctx context.Context, r *request) (*Item, error) {
	var item Item
	var modified = true
	err := c.send(ctx, r, func(resp *http.Response) error {
		if resp.StatusCode == http.StatusNotModified {
			modified = false
			return nil
		}
		item = itemOf(resp)
		if r.method == http.MethodHead {
			return nil
		}
		var err error
		item.Value, err = readBody(resp)
		item.Size = int64(len(item.Value))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !modified {
		return nil, ErrNotModified
	}
	return &item, nil
}

// itemOf returns what the headers of resp say.
func itemOf(resp *http.Response) Item {
	h := resp.Header
	// Times that cannot be read, or are not there, are zero.
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	expires, _ := time.Parse(time.RFC3339Nano, h.Get("ThunderDB-Expires"))
	return Item{
		Size:        max(0, resp.ContentLength),
		ContentType: h.Get("Content-Type"),
		ETag:        h.Get("ETag"),
		Modified:    modified,
		Expires:     expires,
		Owner:       h.Get("ThunderDB-Owner"),
		Receipt:     h.Get("ThunderDB-Receipt"),
	}
}

// maxPrealloc bounds the memory taken on a Content-Length's word alone.
const maxPrealloc = 8 << 20

// readBody returns the whole body of resp, never nil.
func readBody(resp *http.Response) ([]byte, error) {
	if resp.ContentLength < 0 || resp.ContentLength > maxPrealloc {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		return body, nil
	}
	body := make([]byte, resp.ContentLength)
	if _, err := io.ReadFull(resp.Body, body); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return body, nil
}
