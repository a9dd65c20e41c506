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
	also    error // where it is not nil, the error has to be this one too
	wire    error
	outcome outcome
}

// meanings lists the errors that a node returns. The first that matches
// counts: what was certainly not sent, then what is unclear, and last what was
// refused or judged. So a replica that did not answer is never taken for a key
// that is not there, and one that refused a write which others may have taken
// says nothing of them.
func meanings() []meaning {
	return []meaning{
		{err: node.ErrNotReady, wire: client.ErrUnavailable, outcome: unapplied},
		{err: node.ErrBadNeed, wire: client.ErrBadRequest, outcome: unapplied},
		{err: peer.ErrNotSent, also: peer.ErrOverloaded, wire: client.ErrOverloaded, outcome: unapplied},
		{err: peer.ErrNotSent, wire: client.ErrUnavailable, outcome: unapplied},
		{err: context.DeadlineExceeded, wire: client.ErrTimeout, outcome: unclear},
		{err: context.Canceled, wire: client.ErrUnavailable, outcome: unclear},
		{err: peer.ErrUnavailable, wire: client.ErrUnavailable, outcome: unclear},
		{err: kv.ErrUnavailable, wire: client.ErrUnavailable, outcome: unclear},
		{err: peer.ErrStale, wire: client.ErrUnavailable, outcome: unapplied},
		{err: peer.ErrClock, wire: client.ErrUnavailable, outcome: unapplied},
		{err: kv.ErrClockCeiling, wire: client.ErrUnavailable, outcome: unapplied},
		{err: peer.ErrForeign, wire: client.ErrUnavailable, outcome: unapplied},
		{err: peer.ErrOverloaded, wire: client.ErrOverloaded, outcome: unapplied},
		{err: kv.ErrClosed, wire: client.ErrUnavailable, outcome: unapplied},
		{err: kv.ErrConflict, wire: client.ErrConflict, outcome: unapplied},
		{err: kv.ErrPrecondition, wire: client.ErrPrecondition, outcome: unapplied},
		{err: kv.ErrFull, wire: client.ErrFull, outcome: unapplied},
		{err: kv.ErrTooLarge, wire: client.ErrTooLarge, outcome: unapplied},
		{err: node.ErrMemberUp, wire: client.ErrMemberUp, outcome: unapplied},
		{err: node.ErrNoMember, wire: client.ErrNoMember, outcome: unapplied},
		{err: node.ErrTooFew, wire: client.ErrTooFew, outcome: unapplied},
		{err: node.ErrLastMember, wire: client.ErrLastMember, outcome: unapplied},
		{err: node.ErrBusy, wire: client.ErrBusy, outcome: unapplied},
		{err: node.ErrBadCursor, wire: client.ErrBadRequest, outcome: unapplied},
		{err: kv.ErrNoScan, wire: client.ErrUnsupported, outcome: unapplied},
		{err: kv.ErrNotFound, wire: client.ErrNotFound, outcome: unapplied},
		// Errors of the request itself are wrapped with the wire's own.
		{err: client.ErrBadRequest, wire: client.ErrBadRequest, outcome: unapplied},
		{err: client.ErrTooLarge, wire: client.ErrTooLarge, outcome: unapplied},
		{err: client.ErrMediaType, wire: client.ErrMediaType, outcome: unapplied},
		{err: client.ErrNotText, wire: client.ErrNotText, outcome: unapplied},
		{err: client.ErrOverloaded, wire: client.ErrOverloaded, outcome: unapplied},
		{err: client.ErrNoRoute, wire: client.ErrNoRoute, outcome: unapplied},
		{err: client.ErrMethod, wire: client.ErrMethod, outcome: unapplied},
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
		if errors.Is(err, m.err) && (m.also == nil || errors.Is(err, m.also)) {
			return t.codes[m.wire], m.outcome
		}
	}
	return t.codes[client.ErrInternal], unclear
}

// judge returns the code that a failure is answered with, and what a write
// left behind. A replica that has acknowledged it knows better than any error.
func (t *table) judge(f failure) (client.Code, outcome) {
	code, left := t.classify(f.err)
	if f.acked && (code.Status >= http.StatusInternalServerError || code.Status == http.StatusTooManyRequests) {
		left = unclear
	}
	return code, left && outcome(f.write)
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
	acked bool   // whether a replica has acknowledged that
}

// failureOf returns the failure of an operation.
func failureOf(op *kv.Op, reply *node.Reply) failure {
	write := op.Verb.IsWrite()
	return failure{err: reply.Err, key: op.Key, write: write, acked: write && reply.Receipt.Answered > 0}
}

// ownTitle are errors of which the table's title, which is about replicas,
// would say the wrong thing.
func ownTitle() []error { return []error{node.ErrNotReady, peer.ErrClock, kv.ErrClockCeiling} }

// problem returns the document for a failure.
func (s *Server) problem(r *http.Request, f failure) client.Problem {
	code, left := s.table.judge(f)
	p := client.Problem{
		Type: urnPrefix + code.Name, Title: code.Err.Error(), Status: code.Status,
		Detail: f.err.Error(), Instance: r.URL.EscapedPath(),
		Code: code.Name, Node: s.name, Retryable: code.Retryable,
	}
	for _, err := range ownTitle() {
		if errors.Is(f.err, err) && code.Err == client.ErrUnavailable { //nolint:errorlint // a row of the table
			p.Title = err.Error()
			break
		}
	}
	p.Detail = withoutTitle(p.Detail, p.Title)
	p.Key, p.KeyB64 = textOrBytes(f.key)
	if left == unclear {
		p.Applied = "unknown"
	}
	if code.Status == http.StatusInternalServerError {
		s.logger.Error("request failed", "method", r.Method, "path", p.Instance, "error", f.err)
	}
	return p
}

// withoutTitle returns what an error's text says beyond the title that stands
// before it.
func withoutTitle(text, title string) string {
	if text == title {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, title+": "), ": "+title)
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
