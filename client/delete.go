package client

import (
	"context"
	"fmt"
	"net/http"
)

// Delete removes key. It is no error where key has no value, unless IfMatch
// asks for one. Other errors are as those of Put.
func (c *Client) Delete(ctx context.Context, key string, opts ...Option) error {
	r := keyRequest(http.MethodDelete, key, opts)
	r.write = true
	if err := c.send(ctx, r, func(*http.Response) error { return nil }); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}
