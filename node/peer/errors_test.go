package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/kv"
)

// travelled returns err as it arrives at the other end.
func travelled(err error) error { return errorOf(codeOf(err)) }

func TestErrorsArriveAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		ErrUnavailable, errUnsent, ErrForeign, ErrOverloaded, ErrStale, ErrClock, context.DeadlineExceeded,
		kv.ErrFull, kv.ErrTooLarge, kv.ErrNoScan, kv.ErrConflict, kv.ErrPrecondition, kv.ErrNotFound,
	} {
		if got := travelled(err); got != err { //nolint:errorlint // the very same is expected
			t.Errorf("%v arrives as %v", err, got)
		}
		got := travelled(fmt.Errorf("get of n3: %w", err))
		if !errors.Is(got, err) {
			t.Errorf("%v, wrapped, arrives as %v", err, got)
		}
	}
}

func TestTextsArrive(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("disk on fire"), fmt.Errorf("apply on n3: %w", kv.ErrFull)} {
		if got := travelled(err); got == nil || got.Error() != err.Error() {
			t.Errorf("%q arrives as %v", err, got)
		}
	}
}

// A key whose owners cannot be asked is not an absent key.
func TestUnavailableNeverArrivesAsNotFound(t *testing.T) {
	t.Parallel()
	got := travelled(fmt.Errorf("%w: %w", kv.ErrNotFound, ErrUnavailable))
	if !errors.Is(got, ErrUnavailable) || errors.Is(got, kv.ErrNotFound) {
		t.Errorf("arrives as %v", got)
	}
}

// The other node's shutdown is not the caller's.
func TestCanceledArrivesAsUnavailable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{context.Canceled, kv.ErrClosed} {
		got := travelled(fmt.Errorf("get: %w", err))
		if !errors.Is(got, ErrUnavailable) || errors.Is(got, err) {
			t.Errorf("%v arrives as %v", err, got)
		}
	}
}

func TestUnknownCodeIsAnError(t *testing.T) {
	t.Parallel()
	if err := errorOf(200, ""); err == nil || err.Error() == "" {
		t.Errorf("code 200 arrives as %v", err)
	}
}

func TestLongTextsAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	for pad := range 3 {
		got := travelled(errors.New(strings.Repeat("x", pad) + strings.Repeat("漢", maxText))).Error()
		if len(got) > maxText || len(got) < maxText-3 || !utf8.ValidString(got) {
			t.Errorf("%d bytes arrive, valid: %t", len(got), utf8.ValidString(got))
		}
	}
}
