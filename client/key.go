package client

import "unicode/utf8"

// escapeKey returns key as it stands in a path: every byte but the unreserved
// ones of RFC 3986, section 2.3, is percent-encoded, slashes too. Keys that
// consist of dots are encoded whole, for a path segment of dots means
// something to whatever stands in between.
func escapeKey(key string) string {
	const digits = "0123456789ABCDEF"
	dots := key == "." || key == ".."
	buf := make([]byte, 0, len(key)+16)
	for i := range len(key) {
		if c := key[i]; unreserved(c) && !dots {
			buf = append(buf, c)
		} else {
			buf = append(buf, '%', digits[c>>4], digits[c&0xf])
		}
	}
	return string(buf)
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// encode returns text as JSON documents carry it: as it is where it is UTF-8,
// else as bytes, which become base64.
func encode(text string) (*string, []byte) {
	if utf8.ValidString(text) {
		return &text, nil
	}
	return nil, []byte(text)
}

// decode is the inverse of encode.
func decode(text *string, b64 []byte) string {
	if text != nil {
		return *text
	}
	return string(b64)
}
