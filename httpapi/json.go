package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// writeJSON answers with 200 and a document.
func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, document any) {
	body, err := marshal(document)
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	w.Header()["Content-Type"] = valueJSON
	s.write(w, body)
}

// marshal encodes a document and ends it with a newline. Unlike json.Marshal
// it leaves <, > and & as they are.
func marshal(document any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(document); err != nil {
		return nil, fmt.Errorf("encode %T: %w", document, err)
	}
	return body.Bytes(), nil
}

// textOrBytes returns b for the two members of a document that a key or value
// may stand in: the first where it is UTF-8, else the second.
func textOrBytes(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}

// textOrBytesPtr is textOrBytes for members that may be absent.
func textOrBytesPtr(b []byte) (*string, []byte) {
	if utf8.Valid(b) {
		text := string(b)
		return &text, nil
	}
	return nil, b
}

var (
	errNotUTF8   = errors.New("the JSON is not UTF-8")
	errSurrogate = errors.New("the JSON has half of a surrogate pair")
)

// checkJSONText returns an error for JSON whose strings encoding/json would
// change without a word: it turns what is no text into U+FFFD.
func checkJSONText(doc []byte) error {
	if !utf8.Valid(doc) {
		return errNotUTF8
	}
	for {
		i := bytes.IndexByte(doc, '\\')
		if i < 0 || i+1 == len(doc) {
			return nil
		}
		doc = doc[i+1:]
		if doc[0] != 'u' {
			doc = doc[1:] // what is escaped, perhaps a backslash
			continue
		}
		_, n, err := cutUnicodeEscape(doc)
		if err != nil {
			return err
		}
		doc = doc[n:]
	}
}

// cutUnicodeEscape returns the character of the escape that doc begins with
// after its first backslash, and how long that is: u0041, or ud83d\ude00.
func cutUnicodeEscape(doc []byte) (char rune, n int, err error) {
	high, ok := cutHex(doc)
	if !ok {
		return 0, 0, errors.New(`the JSON has a bad \u escape`)
	}
	if high < 0xd800 || high > 0xdfff {
		return high, 5, nil
	}
	if len(doc) > 6 && doc[5] == '\\' {
		if low, ok := cutHex(doc[6:]); ok && high < 0xdc00 && 0xdc00 <= low && low <= 0xdfff {
			return (high-0xd800)<<10 | (low - 0xdc00) + 0x10000, 11, nil
		}
	}
	return 0, 0, errSurrogate
}

// cutHex returns the number of the escape that doc begins with: u0041.
func cutHex(doc []byte) (rune, bool) {
	if len(doc) < 5 || doc[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(doc[1:5]), 16, 16)
	return rune(n), err == nil
}

// appendJSON appends text, which is UTF-8, as a JSON string.
func appendJSON(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	dst = append(dst, text[plain:]...)
	return append(dst, '"')
}
