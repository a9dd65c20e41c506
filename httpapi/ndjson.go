package httpapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/node"
)

// jsonParser reads a client.Record a line. All members of those are strings,
// which makes for a parser several times as fast as encoding/json; and unlike
// that, it takes no text that it would have to change.
type jsonParser struct {
	lines   lines
	server  *Server
	members [7][]byte // nil where absent, in the order of recordMembers
	space   []byte    // for strings that do not stand in the line as they are
	typ     string    // the last content type, for most records have the same
}

// recordMembers are the members of a record.
var recordMembers = [7]string{"key", "key_b64", "value", "value_b64", "content_type", "expires", "ttl"}

var (
	errNotObject = badLine{errors.New("the line is not one JSON object")}
	errNotString = badLine{errors.New("a member's name or value is not a JSON string")}
	errBadEscape = badLine{errors.New("a JSON string has a bad escape")}
	errLineUTF8  = badLine{errNotUTF8}
)

func (p *jsonParser) next(rec *node.Record) error {
	for {
		line, err := p.lines.line()
		rec.Line = p.lines.number
		if err != nil {
			return err
		}
		if line = skipSpace(line); len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return errLineUTF8
		}
		if err := p.object(line); err != nil {
			return err
		}
		if err := p.record(rec); err != nil {
			return badLine{err}
		}
		return p.server.limits.checkRecord(rec)
	}
}

// record sets rec to what the members say.
func (p *jsonParser) record(rec *node.Record) (err error) {
	m := &p.members
	if rec.Key, err = p.choose("key", m[0], m[1]); err != nil {
		return err
	}
	if rec.Value, err = p.choose("value", m[2], m[3]); err != nil {
		return err
	}
	switch {
	case len(m[4]) == 0:
		rec.ContentType = typeOf(m[3])
	case string(m[4]) == p.typ:
		rec.ContentType = p.typ
	default:
		p.typ = string(m[4])
		rec.ContentType = p.typ
		if err := checkContentType(p.typ); err != nil {
			p.typ = ""
			return err
		}
	}
	rec.Expires = 0
	switch {
	case m[5] != nil && m[6] != nil:
		return errors.New("expires and ttl are both given")
	case m[5] != nil:
		at, err := time.Parse(time.RFC3339, string(m[5]))
		if err != nil {
			return fmt.Errorf("expires %q: want a time as RFC 3339 has it", m[5])
		}
		rec.Expires = expiry(at)
	case m[6] != nil:
		rec.Expires, err = p.server.expiryOf(string(m[6]))
	}
	return err
}

// choose returns what stands in one of the two members for text and bytes.
func (p *jsonParser) choose(name string, text, b64 []byte) ([]byte, error) {
	switch {
	case text != nil && b64 != nil:
		return nil, fmt.Errorf("%s and %s_b64 are both given", name, name)
	case text != nil:
		return text, nil
	case b64 == nil:
		return nil, fmt.Errorf("neither %s nor %s_b64 is given", name, name)
	}
	from := len(p.space)
	var err error
	if p.space, err = base64.StdEncoding.AppendDecode(p.space, b64); err != nil {
		return nil, fmt.Errorf("%s_b64: %w", name, err)
	}
	return p.space[from:], nil
}

// object sets p's members to those of the JSON object that line is.
func (p *jsonParser) object(line []byte) error {
	p.members, p.space = [7][]byte{}, p.space[:0]
	rest, ok := cutByte(line, '{')
	if !ok {
		return errNotObject
	}
	if end, empty := cutByte(rest, '}'); empty {
		return endOfObject(end)
	}
	for {
		var err error
		if rest, err = p.member(rest); err != nil {
			return err
		}
		if end, ends := cutByte(rest, '}'); ends {
			return endOfObject(end)
		}
		if rest, ok = cutByte(rest, ','); !ok {
			return errNotObject
		}
	}
}

func endOfObject(rest []byte) error {
	if len(rest) > 0 {
		return errNotObject
	}
	return nil
}

// member reads the member that rest begins with, and returns what follows.
func (p *jsonParser) member(rest []byte) ([]byte, error) {
	name, rest, err := p.text(rest)
	if err != nil {
		return nil, err
	}
	at := memberIndex(name)
	if at < 0 {
		return nil, badLine{fmt.Errorf("unknown member %q", name)}
	}
	rest, ok := cutByte(rest, ':')
	if !ok {
		return nil, errNotObject
	}
	if after, null := bytes.CutPrefix(rest, []byte("null")); null {
		return skipSpace(after), nil
	}
	if p.members[at] != nil {
		return nil, badLine{fmt.Errorf("member %q is given twice", name)}
	}
	p.members[at], rest, err = p.text(rest)
	return rest, err
}

func memberIndex(name []byte) int {
	for i, known := range recordMembers {
		if string(name) == known {
			return i
		}
	}
	return -1
}

// text cuts the string that rest begins with. It is not nil.
func (p *jsonParser) text(rest []byte) (text, after []byte, err error) {
	if len(rest) == 0 || rest[0] != '"' {
		return nil, nil, errNotString
	}
	rest = rest[1:]
	i := plainLength(rest)
	if i < len(rest) && rest[i] == '"' {
		return rest[:i:i], skipSpace(rest[i+1:]), nil
	}
	from := len(p.space)
	for {
		p.space = append(p.space, rest[:i]...)
		if i == len(rest) || rest[i] < ' ' {
			return nil, nil, errNotString
		}
		if rest[i] == '"' {
			return p.space[from:len(p.space):len(p.space)], skipSpace(rest[i+1:]), nil
		}
		if rest, err = p.unescape(rest[i+1:]); err != nil {
			return nil, nil, err
		}
		i = plainLength(rest)
	}
}

// plainLength returns how many bytes of s stand for themselves in a string.
func plainLength(s []byte) int {
	for i, c := range s {
		if c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(s)
}

// unescape appends what the escape stands for that s begins with after its
// backslash, and returns what follows.
func (p *jsonParser) unescape(s []byte) ([]byte, error) {
	const names, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if len(s) == 0 {
		return nil, errBadEscape
	}
	if s[0] == 'u' {
		char, n, err := cutUnicodeEscape(s)
		if err != nil {
			return nil, badLine{err}
		}
		p.space = utf8.AppendRune(p.space, char)
		return s[n:], nil
	}
	for i := range len(names) {
		if s[0] == names[i] {
			p.space = append(p.space, meanings[i])
			return s[1:], nil
		}
	}
	return nil, errBadEscape
}

// skipSpace returns s without the white space that it begins with.
func skipSpace(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}

// cutByte cuts c and the white space around it from the beginning of s.
func cutByte(s []byte, c byte) ([]byte, bool) {
	if len(s) == 0 || s[0] != c {
		return s, false
	}
	return skipSpace(s[1:]), true
}
