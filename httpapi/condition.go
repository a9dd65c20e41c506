package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/thunderdb/thunderdb/kv"
)

// Preconditions, as RFC 9110 (sections 8.8.3 and 13) has them:
//
//   - If-Match compares strongly: a weak tag matches nothing.
//   - If-None-Match compares weakly: W/"v" matches "v".
//   - A tag that is well formed and no version of ours matches nothing.
//   - What is not a list of tags, or *, alone, is refused.
//   - If-Match is judged before If-None-Match.

var errBadETag = errors.New(`want * or a list of entity tags in double quotes`)

// parseCondition sets c to the preconditions of a request and reports whether
// it has any.
func parseCondition(h http.Header, c *kv.Condition) (bool, error) {
	match, matches := h["If-Match"]
	none, noneMatches := h["If-None-Match"]
	if !matches && !noneMatches {
		return false, nil
	}
	*c = kv.Condition{Matches: matches}
	var err error
	if matches {
		if c.Match, c.MatchAny, err = parseTags(match, true); err != nil {
			return false, fmt.Errorf("If-Match: %w", err)
		}
	}
	if noneMatches {
		if c.NoneMatch, c.NoneMatchAny, err = parseTags(none, false); err != nil {
			return false, fmt.Errorf("If-None-Match: %w", err)
		}
	}
	return true, nil
}

// parseTags returns the versions that a list of entity tags names, without the
// weak ones where the comparison is strong; or any, where the list is *.
func parseTags(lines []string, strong bool) (versions []kv.Version, any bool, err error) {
	list := strings.Join(lines, ",")
	if strings.Trim(list, " \t") == "*" {
		return nil, true, nil
	}
	found := false
	for rest := strings.TrimLeft(list, " \t,"); rest != ""; {
		tag, weak, after, ok := cutTag(rest)
		if !ok {
			return nil, false, errBadETag
		}
		found = true
		// A version has one text, and so a tag is ours only as we write it.
		if v, err := kv.ParseVersion(tag); err == nil && (!weak || !strong) {
			versions = append(versions, v)
		}
		trimmed := strings.TrimLeft(after, " \t")
		if trimmed != "" && trimmed[0] != ',' {
			return nil, false, errBadETag
		}
		rest = strings.TrimLeft(trimmed, " \t,")
	}
	if !found {
		return nil, false, errBadETag
	}
	return versions, false, nil
}

// cutTag cuts the entity tag that s begins with, and returns what stands
// between its quotes.
func cutTag(s string) (tag string, weak bool, after string, ok bool) {
	s, weak = strings.CutPrefix(s, "W/")
	if s == "" || s[0] != '"' {
		return "", false, "", false
	}
	tag, after, ok = strings.Cut(s[1:], `"`)
	for i := range len(tag) {
		if c := tag[i]; c <= ' ' || c == 0x7f {
			return "", false, "", false
		}
	}
	return tag, weak, after, ok
}

// judgeRead judges the preconditions of a read that found e, which is live. It
// returns 200, 304 or 412.
func judgeRead(c *kv.Condition, e *kv.Entry) int {
	// The node has judged expiry; no time is too late for the entry here.
	const now = 0
	match := kv.Condition{Match: c.Match, Matches: c.Matches, MatchAny: c.MatchAny}
	if !match.Holds(e, now) {
		return http.StatusPreconditionFailed
	}
	none := kv.Condition{NoneMatch: c.NoneMatch, NoneMatchAny: c.NoneMatchAny}
	if !none.Holds(e, now) {
		return http.StatusNotModified
	}
	return http.StatusOK
}
