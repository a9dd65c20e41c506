package client

import (
	"context"
	"fmt"
	"net/http"
)

// PutResult is what became of a Put.
type PutResult struct {
	ETag    string // quotes included, ready for IfMatch
	Created bool   // the key had no value before
	Owner   string // the node that owns the key
	Receipt string // how the write came about: n=3; w=2; acked=3; ...
}

// Put stores value under key; both may hold any bytes. It is [ErrPrecondition]
// where a condition does not hold, [ErrConflict] where a conditional Put raced
// another write, and [ErrUnclear] where it may or may not have been stored.
func (c *Client) Put(ctx context.Context, key string, value []byte, opts ...Option) (*PutResult, error) {
	r := keyRequest(http.MethodPut, key, opts)
	r.write = true
	r.body = value
	var res PutResult
	err := c.send(ctx, r, func(resp *http.Response) error {
		res = PutResult{
			ETag:    resp.Header.Get("ETag"),
			Created: resp.StatusCode == http.StatusCreated,
			Owner:   resp.Header.Get("ThunderDB-Owner"),
			Receipt: resp.Header.Get("ThunderDB-Receipt"),
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("put %q: %w", key, err)
	}
	return &res, nil
}
