package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Control calls and scans are ordinary HTTP requests, on connections of their
// own.

// idleConn is how long such a connection is kept; the peer keeps it longer, so
// that a request seldom meets its end.
const idleConn = 60 * time.Second

// newTransport returns a transport that reaches peers as dial does, and never
// through a proxy of the environment.
func newTransport(dial DialFunc, handshake time.Duration) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, handshake)
			defer cancel()
			return dial(ctx, addr)
		},
		DisableCompression:     true,
		IdleConnTimeout:        idleConn,
		MaxResponseHeaderBytes: maxAnswerHead,
	}
}

// Ask puts a question to the peer: in goes there as JSON, and what the answer
// function registered under that name returns is decoded into out, unless that
// is nil. Errors are those of [Client.Do]; and those that the answer returned,
// as far as errors.Is goes.
func (c *Client) Ask(ctx context.Context, question string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask %s of %s: %w", question, c.name, err)
	}
	answer, err := c.post(ctx, pathAsk+url.PathEscape(question), "application/json", body)
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("ask %s of %w", question, err)
	}
	return nil
}

// Scan asks the peer for entries that it holds. The errors are those of
// [Client.Do], and those of the peer's store.
func (c *Client) Scan(ctx context.Context, req ScanRequest) (ScanPage, error) {
	body, err := c.post(ctx, pathScan, "application/octet-stream", encodeScanRequest(&req))
	if err != nil {
		return ScanPage{}, fmt.Errorf("scan %w", err)
	}
	page, err := decodeScanPage(body)
	if err != nil {
		return ScanPage{}, fmt.Errorf("scan %w", c.failure(err))
	}
	return page, nil
}

// post sends a request to the peer and returns the body of its answer. Its
// error begins with the peer's name.
func (c *Client) post(ctx context.Context, path, media string, body []byte) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(errClosed) })()
	if c.ctx.Err() != nil {
		return nil, c.failure(errClosed)
	}
	answer, err := c.exchange(ctx, path, media, body)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(context.Cause(ctx), errClosed):
		return nil, c.failure(errClosed)
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, fmt.Errorf("%s: %w", c.name, ctx.Err())
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w: %w", c.name, ErrUnavailable, ctx.Err())
	}
	return nil, err
}

// exchange is post without judging how ctx ended.
func (c *Client) exchange(ctx context.Context, path, media string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, c.failure(err)
	}
	deadline, _ := ctx.Deadline()
	req.Header.Set("Content-Type", media)
	req.Header.Set(headerTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	c.address(req.Header)
	sign(req.Header, &c.cfg.Self, c.cfg.Clock)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(unwrapURL(err))
	}
	defer func() { _ = resp.Body.Close() }() // what matters was read, or the error says more
	if err := c.recognize(resp.Header); err != nil {
		return nil, c.failure(err)
	}
	observeHeader(resp.Header, c.cfg.Clock)
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %w", c.name, refusal(resp))
	}
	answer, err := readBody(resp.Body, resp.ContentLength, c.cfg.MaxFrame)
	if err != nil {
		return nil, c.failure(err)
	}
	return answer, nil
}

// unwrapURL drops what http.Client puts in front of an error: the address says
// less than the peer's name.
func unwrapURL(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// readBody reads all of r, which says to have size bytes (-1: unknown).
func readBody(r io.Reader, size int64, limit int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(size, 0), growStep)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err == nil && n > int64(limit) {
		err = fmt.Errorf("above the limit of %d bytes", limit)
	}
	return b.Bytes(), err
}

// Identify asks whoever serves peers at addr who it is: its name, its boot
// identity, and its cluster ("" while it knows none). A nil dial means TCP.
// It gives up when ctx ends, or after 10 s. The error is ErrUnavailable where
// no node answers.
func Identify(ctx context.Context, dial DialFunc, addr string) (name string, boot uint64, cluster string, err error) {
	if dial == nil {
		dial = dialTCP
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	transport := newTransport(dial, defaultHandshake)
	transport.DisableKeepAlives = true
	defer transport.CloseIdleConnections()
	doc, err := identify(ctx, transport, addr)
	if err != nil {
		return "", 0, "", fmt.Errorf("identify %s: %w: %w", addr, ErrUnavailable, unwrapURL(err))
	}
	return doc.Name, doc.Boot, doc.Cluster, nil
}

func identify(ctx context.Context, transport *http.Transport, addr string) (identityDocument, error) {
	var doc identityDocument
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+pathIdentify, nil)
	if err != nil {
		return doc, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return doc, err
	}
	defer func() { _ = resp.Body.Close() }() // what matters was read, or the error says more
	if resp.StatusCode != http.StatusOK {
		return doc, refusal(resp)
	}
	body, err := readBody(resp.Body, resp.ContentLength, maxAnswerHead)
	if err == nil {
		err = json.Unmarshal(body, &doc)
	}
	if err == nil && doc.Name == "" {
		err = errors.New("its answer names no node")
	}
	return doc, err
}
