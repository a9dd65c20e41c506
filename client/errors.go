package client

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Errors that no server answers with.
var (
	// ErrUnclear is returned, beside the error that caused it, when a write may
	// or may not have been done.
	ErrUnclear = errors.New("the write may or may not have been done")
	// ErrNotModified is returned by Get and Head with IfNoneMatch when the key
	// still has one of the ETags named.
	ErrNotModified = errors.New("not modified")
)

// maxProblem is how much of an error's body is read, in bytes; maxDetail how
// much of one that is no Problem is passed on.
const (
	maxProblem = 64 << 10
	maxDetail  = 500
)

// maxRetryAfter bounds what a node may ask for, so that one with a broken
// clock does not stop its clients for good.
const maxRetryAfter = time.Minute

// readProblem returns the error that resp stands for. Its Type is empty where
// the body was no Problem: the answer of a HEAD, or of a proxy.
func readProblem(resp *http.Response) *Problem {
	// A body that breaks off is as good as none: the status stands.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p Problem
	if mediaType == "application/problem+json" && json.Unmarshal(body, &p) == nil {
		p.Status = resp.StatusCode
		if p.Type == "" {
			p.Type = "about:blank" // what its absence means: RFC 9457, section 3.1.1
		}
		if p.Title == "" {
			p.Title = title(resp.StatusCode)
		}
		return &p
	}
	p = Problem{
		Title:  title(resp.StatusCode),
		Status: resp.StatusCode,
		Node:   resp.Header.Get("ThunderDB-Node"),
	}
	if text := strings.TrimSpace(string(body)); mediaType == "text/plain" {
		p.Detail = strings.ToValidUTF8(text[:min(len(text), maxDetail)], "\uFFFD")
	}
	for _, c := range Codes() {
		// Anything on the web answers 404; only a node's own means a key.
		if c.Status == p.Status && (c.Status != http.StatusNotFound || p.Node != "") {
			p.Code, p.Retryable = c.Name, c.Retryable
			if p.Detail == "" {
				p.Title = c.Err.Error()
			}
			break
		}
	}
	return &p
}

// title returns the status code in words.
func title(status int) string {
	if text := http.StatusText(status); text != "" {
		return strings.ToLower(text) + " (" + strconv.Itoa(status) + ")"
	}
	return "status " + strconv.Itoa(status)
}

// retryAfter returns how long the value of a Retry-After header (RFC 9110,
// section 10.2.3), in seconds or as a date, asks to wait.
func retryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}
