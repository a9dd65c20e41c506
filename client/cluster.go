package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// RawKey returns the key, which may hold any bytes.
func (e *Explanation) RawKey() string {
	if e.KeyB64 != nil {
		return string(e.KeyB64)
	}
	return e.Key
}

// Explain says where key lives and why.
func (c *Client) Explain(ctx context.Context, key string) (*Explanation, error) {
	var doc Explanation
	if err := c.getJSON(ctx, "/v1/explain/"+escapeKey(key), "", &doc); err != nil {
		return nil, fmt.Errorf("explain %q: %w", key, err)
	}
	return &doc, nil
}

// Cluster returns the state of the cluster, as the node that answers sees it.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	var doc Cluster
	if err := c.getJSON(ctx, "/v1/cluster", "", &doc); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return &doc, nil
}

// Member returns the member called name, nil where there is none.
func (c *Cluster) Member(name string) *Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}

// Leave makes the node at the client's only address hand over what it holds,
// leave the cluster and end, and returns the node's name as soon as that is
// under way. [Client.Cluster] tells how far it is. It is [ErrLastMember] where
// there is nobody to hand over to, and [ErrTooFew] or [ErrBusy] where the
// cluster cannot decide on it, or not now.
func (c *Client) Leave(ctx context.Context) (node string, err error) {
	if len(c.nodes) != 1 {
		return "", fmt.Errorf("leave: which node? The client has %d addresses, want the one of the node that is to leave", len(c.nodes))
	}
	// To be told twice does no harm, so this is no write.
	r := &request{method: http.MethodPost, path: "/v1/cluster/leave"}
	err = c.send(ctx, r, func(resp *http.Response) error {
		node = resp.Header.Get("ThunderDB-Node")
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("leave: %w", err)
	}
	return node, nil
}

// Forget removes the member called name, which is down and will not come back,
// and returns when that is decided: what it held is then copied among the
// others. It is [ErrMemberUp] where the member is up, [ErrNoMember] where there
// is none of that name, and [ErrTooFew] where acknowledged writes may be lost
// by it or a majority is gone. With force it does it then all the same.
func (c *Client) Forget(ctx context.Context, name string, force bool) error {
	r := &request{method: http.MethodPost, path: "/v1/cluster/forget/" + escapeKey(name), write: true}
	if force {
		r.query = "force=true"
	}
	if err := c.send(ctx, r, func(*http.Response) error { return nil }); err != nil {
		return fmt.Errorf("forget %q: %w", name, err)
	}
	return nil
}

// Ring returns the whole partition table.
func (c *Client) Ring(ctx context.Context) (*Ring, error) {
	var doc Ring
	if err := c.getJSON(ctx, "/v1/ring", "", &doc); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	return &doc, nil
}

// Document returns what GET of path, such as "/v1/cluster", answers, byte for
// byte. The path is sent as it is: whoever calls has escaped it.
func (c *Client) Document(ctx context.Context, path string) ([]byte, error) {
	body, err := c.getBody(ctx, path, "")
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", path, err)
	}
	return body, nil
}

// Ready asks each node in turn, once, and returns nil as soon as one is ready
// to serve; otherwise what each of them said.
func (c *Client) Ready(ctx context.Context) error {
	var errs []error
	for _, n := range c.nodes {
		r := &request{method: http.MethodGet, path: "/readyz"}
		f := c.try(ctx, n, r, func(*http.Response) error { return nil })
		if f == nil {
			return nil
		}
		errs = append(errs, f.err)
	}
	return fmt.Errorf("not ready: %w", errors.Join(errs...))
}

func (c *Client) getBody(ctx context.Context, path, query string) ([]byte, error) {
	var body []byte
	r := &request{method: http.MethodGet, path: path, query: query}
	err := c.send(ctx, r, func(resp *http.Response) (err error) {
		body, err = readBody(resp)
		return err
	})
	return body, err
}
