package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// checkKey returns an error for a key that is empty or too long.
func (l *Limits) checkKey(key []byte) error {
	switch {
	case len(key) == 0:
		return errors.New("the key is empty")
	case len(key) > l.Key:
		return fmt.Errorf("the key has %d bytes, the limit is %d", len(key), l.Key)
	}
	return nil
}

// checkContentType returns an error for a media type that could not be sent
// back in a header as it came.
func checkContentType(text string) error {
	if len(text) > maxContentType {
		return fmt.Errorf("the content type has %d bytes, the limit is %d", len(text), maxContentType)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return fmt.Errorf("the content type has byte %#02x, want printable ASCII", text[i])
		}
	}
	return nil
}

// detectType returns the media type of a value that came without one.
func detectType(value []byte) string {
	if utf8.Valid(value) {
		return typeText
	}
	return typeBinary
}

// maxTTL is the longest life that may be asked for: what is to live longer
// can do without a TTL.
const maxTTL = 100 * 365 * 24 * time.Hour

// parseTTL returns a TTL given as a Go duration or as a whole number of
// seconds.
func parseTTL(text string) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if seconds, notNumber := strconv.ParseUint(text, 10, 32); notNumber == nil {
		ttl, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || ttl <= 0 || ttl > maxTTL {
		return 0, fmt.Errorf("ttl %q: want a duration above zero and up to 100 years, such as 60s or 12h", text)
	}
	return max(ttl, time.Millisecond), nil
}

// expiryOf returns the expiry of what lives for ttl from now on.
func (s *Server) expiryOf(ttl string) (int64, error) {
	d, err := parseTTL(ttl)
	if err != nil {
		return 0, err
	}
	return expiry(s.now().Add(d)), nil
}

// expiry returns t as kv.Entry has it. Moments up to 1970 become the first
// after it, for 0 would mean never.
func expiry(t time.Time) int64 { return max(1, t.UnixMilli()) }

// expiryTime is the inverse of expiry, nil for never.
func expiryTime(expires int64) *time.Time {
	if expires == 0 {
		return nil
	}
	t := time.UnixMilli(expires).UTC()
	return &t
}

// requestExpiry returns the expiry that a request asks for by header, by
// parameter, or by both alike; 0 is never.
func (s *Server) requestExpiry(h http.Header, query url.Values) (int64, error) {
	given := h[requestTTL]
	if asked, ok := query["ttl"]; ok {
		given = append(slices.Clone(given), asked...)
	}
	if len(given) == 0 {
		return 0, nil
	}
	for _, text := range given[1:] {
		if text != given[0] {
			return 0, fmt.Errorf("two ttls are given: %q and %q", given[0], text)
		}
	}
	return s.expiryOf(given[0])
}

// parseCount returns a parameter that counts from 1 to limit, or absent where
// it is not given.
func parseCount(query url.Values, name string, absent, limit int) (int, error) {
	given, ok := query[name]
	if !ok {
		return absent, nil
	}
	text := given[0]
	for _, again := range given[1:] {
		if again != text {
			return 0, fmt.Errorf("%s is given twice: %q and %q", name, text, again)
		}
	}
	n, err := strconv.Atoi(text)
	switch {
	case (err != nil || n < 1 || n > limit) && limit == math.MaxInt32: // as good as none
		return 0, fmt.Errorf("%s=%q: want a number from 1", name, text)
	case err != nil || n < 1 || n > limit:
		return 0, fmt.Errorf("%s=%q: want a number from 1 to %d", name, text, limit)
	}
	return n, nil
}

// parseQuery returns the parameters of a request, nil where there are none.
func parseQuery(u *url.URL) (url.Values, error) {
	if u.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return query, nil
}
