package client

import "errors"

// Errors that a node answers with. Every error of a [Client] that came from a
// node is a [*Problem] and Is one of these.
var (
	ErrBadRequest   = errors.New("malformed request")
	ErrNotFound     = errors.New("key not found")
	ErrNotText      = errors.New("value is not text")
	ErrConflict     = errors.New("conflicting write")
	ErrPrecondition = errors.New("precondition failed")
	ErrTooLarge     = errors.New("too large")
	ErrMediaType    = errors.New("unsupported media type")
	ErrOverloaded   = errors.New("overloaded")
	ErrUnavailable  = errors.New("not enough replicas answered")
	ErrTimeout      = errors.New("deadline passed")
	ErrFull         = errors.New("store full")
	ErrNoRoute      = errors.New("no such route")
	ErrMethod       = errors.New("method not allowed")
	ErrInternal     = errors.New("internal error")
	ErrMemberUp     = errors.New("the member is up")
	ErrNoMember     = errors.New("no such member")
	ErrTooFew       = errors.New("too few replicas would be left")
	ErrLastMember   = errors.New("the last member cannot leave")
	ErrBusy         = errors.New("another change of the ring is under way")
	ErrUnsupported  = errors.New("not supported by the node's store")
)

// Code is one row of the table that both ends read: a server turns an error
// into Status and Name, a client turns Name back into Err.
type Code struct {
	Name      string // the problem's code
	Status    int    // the HTTP status code
	Err       error
	Retryable bool // whether the same request may succeed later
}

// Codes lists every code that a server answers with. Of those that share a
// status, the first is the one of operations on keys.
func Codes() []Code {
	return []Code{
		{"bad_request", 400, ErrBadRequest, false},
		{"not_found", 404, ErrNotFound, false},
		{"no_route", 404, ErrNoRoute, false},
		{"no_member", 404, ErrNoMember, false},
		{"method_not_allowed", 405, ErrMethod, false},
		{"not_text", 406, ErrNotText, false},
		{"conflict", 409, ErrConflict, true},
		{"member_up", 409, ErrMemberUp, false},
		{"too_few", 409, ErrTooFew, false},
		{"last_member", 409, ErrLastMember, false},
		{"busy", 409, ErrBusy, true},
		{"precondition_failed", 412, ErrPrecondition, false},
		{"too_large", 413, ErrTooLarge, false},
		{"unsupported_media_type", 415, ErrMediaType, false},
		{"overloaded", 429, ErrOverloaded, true},
		{"internal", 500, ErrInternal, false},
		{"not_supported", 501, ErrUnsupported, false},
		{"unavailable", 503, ErrUnavailable, true},
		{"timeout", 504, ErrTimeout, true},
		{"store_full", 507, ErrFull, false},
	}
}

// Problem is the body of an error, application/problem+json (RFC 9457), with
// ThunderDB's members: Code to Applied.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`

	Code      string `json:"code"`
	Key       string `json:"key,omitempty"`
	KeyB64    []byte `json:"key_b64,omitempty"`
	Node      string `json:"node,omitempty"` // the node that answered
	Retryable bool   `json:"retryable"`
	// Applied is "unknown" where a write may or may not have been stored.
	Applied string `json:"applied,omitempty"`
}

// Error returns the title and what is known beyond it.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// Unwrap returns the error that the code stands for.
func (p *Problem) Unwrap() error {
	for _, c := range Codes() {
		if c.Name == p.Code {
			return c.Err
		}
	}
	return nil
}
