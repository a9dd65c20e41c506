package client

import (
	"net/http"
	"strings"
	"time"
)

// Option changes one request.
type Option func(*request)

// Consistency is how many replicas of a key must take part in a request.
type Consistency string

// The consistencies. A cluster takes Quorum unless told otherwise.
const (
	One    Consistency = "one" // promises no freshness
	Quorum Consistency = "quorum"
	All    Consistency = "all"
)

// WithConsistency is for Get, Head, Put and Delete.
func WithConsistency(level Consistency) Option {
	return header("ThunderDB-Consistency", string(level))
}

// TTL makes a Put expire after d, which must be above 0.
func TTL(d time.Duration) Option { return header("ThunderDB-TTL", d.String()) }

// ContentType is the media type that a Put stores with the value, and that a
// Get gives back; without it, application/octet-stream.
func ContentType(mediaType string) Option { return header("Content-Type", mediaType) }

// IfMatch makes a request depend on the key having one of these ETags, or with
// "*" any value: otherwise [ErrPrecondition] is returned and nothing done.
func IfMatch(etags ...string) Option {
	return condition("If-Match", strings.Join(etags, ", "))
}

// IfNoneMatch makes a request depend on the key having none of these ETags, or
// with "*" no value at all: otherwise a write returns [ErrPrecondition], and a
// read [ErrNotModified].
func IfNoneMatch(etags ...string) Option {
	return condition("If-None-Match", strings.Join(etags, ", "))
}

func header(name, value string) Option {
	return func(r *request) {
		if r.header == nil {
			r.header = make(http.Header)
		}
		r.header.Set(name, value)
	}
}

func condition(name, etags string) Option {
	set := header(name, etags)
	return func(r *request) {
		set(r)
		r.conditional = true
	}
}

// keyRequest returns a request about one key.
func keyRequest(method, key string, opts []Option) *request {
	r := &request{method: method, path: "/v1/kv/" + escapeKey(key)}
	for _, opt := range opts {
		opt(r)
	}
	return r
}
