package client

import (
	"net/http"
	"net/url"
	"strconv"
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

// WithConsistency is for Get, Head, Put, Delete, Batch and Import.
func WithConsistency(level Consistency) Option {
	return header("ThunderDB-Consistency", string(level))
}

// ReadReplicas is how many replicas must answer what a request reads, whatever
// WithConsistency says. [ErrBadRequest] is returned where a key has fewer.
func ReadReplicas(n int) Option { return parameter("r", n) }

// WriteReplicas is how many replicas must acknowledge what a request writes,
// whatever WithConsistency says. [ErrBadRequest] is returned where a key has
// fewer.
func WriteReplicas(n int) Option { return parameter("w", n) }

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

func parameter(name string, n int) Option {
	return func(r *request) {
		query, err := url.ParseQuery(r.query)
		if err != nil {
			return // it is ours: it cannot be
		}
		query.Set(name, strconv.Itoa(n))
		r.query = query.Encode()
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
