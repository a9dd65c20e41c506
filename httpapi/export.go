package httpapi

import (
	"encoding/base64"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/node"
)

// exportPage is how many entries an export asks for at a time.
const exportPage = 1000

// export serves GET /v1/export. An export that cannot go on breaks the
// connection, so that what came of it is not taken for all.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	query, err := parseQuery(r.URL)
	if err != nil {
		s.failRequest(w, r, badRequest(err))
		return
	}
	st := s.newStream(w, func(h http.Header) { h["Content-Type"] = valueNDJSON })
	req := node.ListRequest{Prefix: []byte(query.Get("prefix")), Limit: exportPage, Values: true}
	err = s.visitAll(r.Context(), req, func(e *node.Listed) error {
		st.line = appendRecord(st.line[:0], e)
		_, err := st.out.Write(st.line)
		return err
	})
	s.endStream(w, r, st, err)
}

// appendRecord appends the line of an export for an entry: a client.Record,
// from which a bulk load makes the same entry again. A value stored without a
// media type gets the one that it is served with.
func appendRecord(dst []byte, e *node.Listed) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, "key", e.Key)
	dst = append(dst, ',')
	dst = appendMember(dst, "value", e.Value)
	contentType := e.ContentType
	if contentType == "" {
		contentType = typeBinary
	}
	dst = append(dst, `,"content_type":`...)
	dst = appendJSON(dst, []byte(contentType))
	if e.Expires != 0 {
		dst = append(dst, `,"expires":"`...)
		dst = time.UnixMilli(e.Expires).UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	return append(dst, "}\n"...)
}

// appendMember appends a member called name where b is UTF-8, else one called
// name_b64.
func appendMember(dst []byte, name string, b []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	if utf8.Valid(b) {
		dst = append(dst, `":`...)
		return appendJSON(dst, b)
	}
	dst = append(dst, `_b64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}
