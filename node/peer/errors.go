package peer

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/kv"
)

// code is an error on the wire. The numbers are part of the protocol.
type code byte

const (
	codeOK           code = 0
	codeNotFound     code = 1
	codePrecondition code = 2
	codeConflict     code = 3
	codeFull         code = 4
	codeTooLarge     code = 5
	codeUnavailable  code = 6
	codeStale        code = 7
	codeOverloaded   code = 8
	codeDeadline     code = 9
	codeForeign      code = 10
	codeNoScan       code = 11
	codeNotSent      code = 12
	codeClock        code = 13
	codeBadNeed      code = 14
	codeOther        code = 255
)

// unsent is the error of a call that was certainly not sent: what kept it from
// being sent, and ErrNotSent.
type unsent struct{ why error }

func (e *unsent) Error() string   { return e.why.Error() + " (" + ErrNotSent.Error() + ")" }
func (e *unsent) Unwrap() []error { return []error{e.why, ErrNotSent} }

// Is makes every such error of a peer that was unavailable match errUnsent.
func (e *unsent) Is(target error) bool {
	return target == errUnsent && errors.Is(e.why, ErrUnavailable)
}

var errUnsent error = &unsent{why: ErrUnavailable}

// codes is the one table between errors and their codes. It is searched in
// order, and an error that is several of these travels as the first: one that
// says a node was unavailable must never arrive as "not found". The first row
// of a code is the error that arrives.
var codes = [...]struct {
	code code
	err  error
}{
	{codeNotSent, errUnsent},
	{codeUnavailable, ErrUnavailable},
	{codeUnavailable, kv.ErrClosed},      // the peer is shutting down,
	{codeUnavailable, kv.ErrUnavailable}, // its store is away,
	{codeUnavailable, kv.ErrClockCeiling},
	{codeUnavailable, context.Canceled}, // and its caller did not cancel anything
	{codeForeign, ErrForeign},
	{codeOverloaded, ErrOverloaded},
	{codeStale, ErrStale},
	{codeClock, ErrClock},
	{codeDeadline, context.DeadlineExceeded},
	{codeFull, kv.ErrFull},
	{codeTooLarge, kv.ErrTooLarge},
	{codeNoScan, kv.ErrNoScan},
	{codeBadNeed, kv.ErrBadNeed},
	{codeConflict, kv.ErrConflict},
	{codePrecondition, kv.ErrPrecondition},
	{codeNotFound, kv.ErrNotFound},
}

// maxText is the size in bytes of the longest error text that travels.
const maxText = 512

// remoteError is an error that arrived from a peer with a text of its own.
type remoteError struct {
	text string
	is   error // what the code stands for; nil where it stands for nothing
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// codeOf returns what stands for err on the wire. The text is empty where the
// code says it all. "Not found" never has one: it is no failure, and frequent.
func codeOf(err error) (code, string) {
	if err == nil {
		return codeOK, ""
	}
	if err == kv.ErrNotFound { //nolint:errorlint // the fast path; wrapped ones are found below
		return codeNotFound, ""
	}
	for _, row := range codes {
		if !errors.Is(err, row.err) {
			continue
		}
		if row.code == codeNotFound {
			return row.code, ""
		}
		text := err.Error()
		if first := sentinel(row.code); text == first.Error() {
			text = ""
		}
		return row.code, clip(text)
	}
	return codeOther, clip(err.Error())
}

// errorOf is the inverse of codeOf: its error satisfies errors.Is as far as
// the table goes.
func errorOf(c code, text string) error {
	if c == codeOK {
		return nil
	}
	is := sentinel(c)
	if text == "" && is != nil {
		return is
	}
	if text == "" {
		text = "unknown error, code " + strconv.Itoa(int(c))
	}
	return &remoteError{text: text, is: is}
}

// sentinel returns the error that c stands for, or nil.
func sentinel(c code) error {
	for _, row := range codes {
		if row.code == c {
			return row.err
		}
	}
	return nil
}

// clip cuts text to what may travel, at the end of a character.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end])
}
