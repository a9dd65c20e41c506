package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxDrain is how much of an answer nobody wants is read, so that its
// connection can be used again.
const maxDrain = 64 << 10

// request is what is sent to a node, perhaps several times.
type request struct {
	method string
	path   string // escaped
	query  string // escaped
	header http.Header
	body   []byte
	// upload, where it is not nil, is sent instead of body, and once only.
	upload *upload
	// write says that the request may change something.
	write bool
	// conditional says that it has a precondition, so that a second try may be
	// judged on the effect of the first.
	conditional bool
	// stream says that the answer takes its time, and is used as it comes.
	stream bool
}

// failure is why a try failed, and what that allows.
type failure struct {
	err     error
	again   bool          // another try may succeed, if it does no harm
	unclear bool          // the request may have been carried out
	after   time.Duration // how long the node wants to be left alone
}

// send sends r to one node after the other, until one gives an answer below
// 300 (or 304) and use has read it.
func (c *Client) send(ctx context.Context, r *request, use func(*http.Response) error) error {
	if err := ctx.Err(); err != nil {
		return err // and nothing is unclear
	}
	start := int(c.next.Add(1)-1) % len(c.nodes)
	var last *failure
	unclear := false // whether any try may have been carried out
	for attempt := range c.tries {
		n, wait := pick(c.nodes, start, attempt, time.Now())
		if wait > 0 && !sleep(ctx, wait) {
			break
		}
		if last = c.try(ctx, n, r, use); last == nil {
			return nil
		}
		unclear = unclear || last.unclear
		if !last.again || ctx.Err() != nil {
			break
		}
		n.note(time.Now(), last.after)
		if !c.repeatable(r, last) {
			break
		}
	}
	return ended(ctx, last.err, r.write && unclear)
}

// ended returns err, what the last try ended with, so that it tells too that
// ctx ended, and what is unclear.
func ended(ctx context.Context, err error, unclear bool) error {
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w: %w", end, err)
	}
	if unclear {
		err = fmt.Errorf("%w: %w", ErrUnclear, err)
	}
	return err
}

// repeatable reports whether r can be sent again after f without harm.
func (c *Client) repeatable(r *request, f *failure) bool {
	switch {
	case r.upload != nil && r.upload.begun():
		return false
	case !r.write || !f.unclear:
		return true
	}
	return c.repeatWrites && !r.conditional && r.upload == nil
}

// sleep waits for d, and reports whether it did: not where ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try sends r to n, once.
func (c *Client) try(ctx context.Context, n *endpoint, r *request, use func(*http.Response) error) *failure {
	whole := ctx
	if c.timeout > 0 && !r.stream {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	// broken is a failure of the connection, under way or while connecting.
	broken := func(err error) *failure {
		if whole.Err() == nil && ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s: %w", c.timeout, ctx.Err())
		}
		return &failure{
			err:     fmt.Errorf("%s: %w", n, err),
			again:   true,
			unclear: !beforeSending(err),
		}
	}
	req, err := r.build(ctx, n)
	if err != nil {
		return &failure{err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error // repeats the method and the whole URL
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return broken(err)
	}
	defer func() {
		r.drain(resp.Body)
		_ = resp.Body.Close()
	}()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotModified {
		return refused(resp)
	}
	if err := use(resp); err != nil {
		f := broken(err)
		f.again = !r.stream // of a stream, part has been used already
		return f
	}
	return nil
}

// build returns r as it is sent to n.
func (r *request) build(ctx context.Context, n *endpoint) (*http.Request, error) {
	path, err := url.PathUnescape(r.path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", r.path, err)
	}
	var body io.Reader
	switch {
	case r.upload != nil:
		body = r.upload
	case r.body != nil:
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, n.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	// net/http sends RawPath byte for byte where it is a valid encoding of
	// Path, and cleans neither.
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = path, r.path, r.query
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	return req, nil
}

// drain reads what little is left of an answer.
func (r *request) drain(body io.Reader) {
	if !r.stream {
		// An error only means that the connection is not used again.
		_, _ = io.CopyN(io.Discard, body, maxDrain)
	}
}

// beforeSending reports whether err certainly happened before any byte of the
// request was sent.
func beforeSending(err error) bool {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &cert)
}

// refused is the failure of an answer that is an error.
func refused(resp *http.Response) *failure {
	p := readProblem(resp)
	f := &failure{err: p, unclear: p.Applied != ""}
	f.again = resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusServiceUnavailable
	// Anything may have happened behind a server that broke down, or behind a
	// proxy that speaks for a node.
	if resp.StatusCode >= 500 && (p.Type == "" || errors.Is(p, ErrInternal)) {
		f.unclear = true
	}
	if f.again {
		f.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return f
}
