package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/node/peer"
)

// urnPrefix begins the type of every problem; its code follows.
const urnPrefix = "urn:thunderdb:problem:"

// outcome says what a failed write left behind.
type outcome bool

const (
	unapplied outcome = false // nothing
	unclear   outcome = true  // it may have been stored
)

// meaning ties an error of the node to one of the wire, whose row in
// client.Codes has its status and code.
type meaning struct {
	err     error
	wire    error
	outcome outcome
}

// meanings lists the errors that a node returns. The first that matches
// counts: what was certainly not sent, then what is unclear, and last what was
// judged, so that a node that did not answer is never taken for a key that is
// not there.
func meanings() []meaning {
	return []meaning{
		{node.ErrNotReady, client.ErrUnavailable, unapplied},
		{peer.ErrNotOwner, client.ErrUnavailable, unapplied},
		{peer.ErrForeign, client.ErrUnavailable, unapplied},
		{peer.ErrOverloaded, client.ErrOverloaded, unapplied},
		{context.DeadlineExceeded, client.ErrTimeout, unclear},
		{context.Canceled, client.ErrUnavailable, unclear},
		{peer.ErrUnavailable, client.ErrUnavailable, unclear},
		{kv.ErrUnavailable, client.ErrUnavailable, unclear},
		{kv.ErrClosed, client.ErrUnavailable, unapplied},
		{kv.ErrConflict, client.ErrConflict, unapplied},
		{kv.ErrPrecondition, client.ErrPrecondition, unapplied},
		{kv.ErrFull, client.ErrFull, unapplied},
		{kv.ErrTooLarge, client.ErrTooLarge, unapplied},
		{node.ErrBadCursor, client.ErrBadRequest, unapplied},
		{kv.ErrNoScan, client.ErrUnsupported, unapplied},
		{kv.ErrNotFound, client.ErrNotFound, unapplied},
		// Errors of the request itself are wrapped with the wire's own.
		{client.ErrBadRequest, client.ErrBadRequest, unapplied},
		{client.ErrTooLarge, client.ErrTooLarge, unapplied},
		{client.ErrMediaType, client.ErrMediaType, unapplied},
		{client.ErrNotText, client.ErrNotText, unapplied},
		{client.ErrOverloaded, client.ErrOverloaded, unapplied},
		{client.ErrNoRoute, client.ErrNoRoute, unapplied},
		{client.ErrMethod, client.ErrMethod, unapplied},
	}
}

// table turns errors into codes. It is built once.
type table struct {
	meanings []meaning
	codes    map[error]client.Code // by Code.Err
}

func newTable() table {
	t := table{meanings: meanings(), codes: make(map[error]client.Code)}
	for _, code := range client.Codes() {
		t.codes[code.Err] = code
	}
	return t
}

// classify returns the code that err is answered with, and whether a write
// that failed with it may have been applied.
func (t *table) classify(err error) (client.Code, outcome) {
	for _, m := range t.meanings {
		if errors.Is(err, m.err) {
			return t.codes[m.wire], m.outcome
		}
	}
	return t.codes[client.ErrInternal], unclear
}

// invalid returns an error that is answered with 400 and its text.
func invalid(format string, args ...any) error {
	return &requestError{client.ErrBadRequest, fmt.Sprintf(format, args...)}
}

// requestError is a fault of the request: kind is the wire's error, and text
// the whole detail, without repeating what kind says.
type requestError struct {
	kind error
	text string
}

func (e *requestError) Error() string { return e.text }
func (e *requestError) Unwrap() error { return e.kind }

// badRequest returns err as one that is answered with 400, unless it says
// otherwise itself.
func badRequest(err error) error {
	if kind := (*requestError)(nil); errors.As(err, &kind) {
		return err
	}
	return &requestError{client.ErrBadRequest, err.Error()}
}

// tooLarge returns an error that is answered with 413. size is below zero where
// it is not known.
func tooLarge(what string, size int64, limit int) error {
	if size < 0 {
		return &requestError{client.ErrTooLarge, fmt.Sprintf("the %s is above the limit of %d bytes", what, limit)}
	}
	return &requestError{client.ErrTooLarge,
		fmt.Sprintf("the %s of %d bytes is above the limit of %d bytes", what, size, limit)}
}

// tooMany returns an error that is answered with 413. format says what there
// is more of than limit.
func tooMany(format string, limit int) error {
	return &requestError{client.ErrTooLarge, fmt.Sprintf(format, limit)}
}

// failure is what a problem tells of one error.
type failure struct {
	err   error
	key   []byte // nil where no key is concerned
	write bool   // whether it was to change something
}

// problem returns the document for a failure.
func (s *Server) problem(r *http.Request, f failure) client.Problem {
	code, left := s.table.classify(f.err)
	p := client.Problem{
		Type: urnPrefix + code.Name, Title: code.Err.Error(), Status: code.Status,
		Detail: f.err.Error(), Instance: r.URL.EscapedPath(),
		Code: code.Name, Node: s.name, Retryable: code.Retryable,
	}
	if errors.Is(f.err, node.ErrNotReady) {
		// The table's title is about replicas, and none was asked.
		p.Title = node.ErrNotReady.Error()
		p.Detail = strings.TrimPrefix(p.Detail, p.Title+": ")
	}
	if p.Detail == p.Title {
		p.Detail = ""
	}
	p.Key, p.KeyB64 = textOrBytes(f.key)
	if f.write && left == unclear {
		p.Applied = "unknown"
	}
	if code.Status == http.StatusInternalServerError {
		s.logger.Error("request failed", "method", r.Method, "path", p.Instance, "error", f.err)
	}
	return p
}

// fail answers with the problem of an error. Nothing may have been written
// before. It returns the status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f failure) int {
	p := s.problem(r, f)
	return s.writeProblem(w, p.Status, p.Code, p)
}

// failRequest is fail for an error that concerns no key.
func (s *Server) failRequest(w http.ResponseWriter, r *http.Request, err error) {
	s.fail(w, r, failure{err: err})
}

// writeProblem writes a problem, or a document that extends one.
func (s *Server) writeProblem(w http.ResponseWriter, status int, code string, document any) int {
	body, err := json.Marshal(document)
	if err != nil {
		s.logger.Error("problem could not be encoded", "code", code, "error", err)
		body = nil
	}
	h := w.Header()
	h["Content-Type"] = valueProblem
	delete(h, "Content-Length")
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h["Retry-After"] = valueOne
	}
	w.WriteHeader(status)
	s.write(w, append(body, '\n'))
	return status
}

// write writes body. That the client has gone is for the debug log only.
func (s *Server) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.logger.Debug("response not written", "error", err)
	}
}
