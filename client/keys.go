package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strconv"
)

// RawKey returns the key, which may hold any bytes.
func (k *KeyInfo) RawKey() string {
	if k.KeyB64 != nil {
		return string(k.KeyB64)
	}
	return k.Key
}

// Keys lists the cluster's live keys that begin with prefix, each once, in no
// order that means anything, page by page. It ends with the first error. Keys
// that are written meanwhile may be listed or not.
func (c *Client) Keys(ctx context.Context, prefix string) iter.Seq2[KeyInfo, error] {
	return func(yield func(KeyInfo, error) bool) {
		cursor := ""
		for {
			page, err := c.KeyPage(ctx, prefix, cursor, 0)
			if err != nil {
				yield(KeyInfo{}, err)
				return
			}
			for _, k := range page.Keys {
				if !yield(k, nil) {
					return
				}
			}
			if page.Complete {
				return
			}
			cursor = page.Cursor
		}
	}
}

// KeyPage returns one page of a listing: its first where cursor is "". It has
// limit keys at most, and 1,000 where limit is 0.
func (c *Client) KeyPage(ctx context.Context, prefix, cursor string, limit int) (*KeyPage, error) {
	q := make(url.Values, 3)
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var page KeyPage
	if err := c.getJSON(ctx, "/v1/keys", q.Encode(), &page); err != nil {
		return nil, fmt.Errorf("list keys %q: %w", prefix, err)
	}
	if !page.Complete && (page.Cursor == "" || page.Cursor == cursor) {
		return nil, fmt.Errorf("list keys %q: the page neither ends the listing nor leads on", prefix)
	}
	return &page, nil
}

// getJSON reads the document at path into doc.
func (c *Client) getJSON(ctx context.Context, path, query string, doc any) error {
	body, err := c.getBody(ctx, path, query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, doc); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
