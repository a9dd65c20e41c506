package httpapi

import (
	"errors"
	"io"
	"mime"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// parser reads the records of a bulk load.
type parser interface {
	// next sets rec to the next record, whose bytes are valid until next is
	// called again. The error is a badLine for a record that is not right, at
	// rec.Line; io.EOF at the end; or why the input could not be read.
	next(rec *node.Record) error
}

// newParser returns the parser of a media type, or an error that is answered
// with 415.
func (s *Server) newParser(contentType string, from io.Reader) (parser, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = contentType
	}
	longest := s.limits.Key + s.limits.Value
	switch client.Format(mediaType) {
	case client.Text:
		return &textParser{lines: newLines(from, longest+len(" \r\n")), limits: &s.limits}, nil
	case client.CSV:
		// Every byte may be a quote, which is written twice.
		return &csvParser{lines: newLines(from, 2*longest+len("\"\",\"\"\r\n")), limits: &s.limits}, nil
	case client.NDJSON:
		// Every byte may be an escape such as \u0000; 1,024 is for the rest.
		return &jsonParser{lines: newLines(from, 6*(longest+maxContentType)+1024), server: s}, nil
	}
	return nil, &requestError{client.ErrMediaType,
		"want the Content-Type text/plain, text/csv or application/x-ndjson"}
}

// checkRecord returns a badLine where a record's key or value is not within
// the limits.
func (l *Limits) checkRecord(rec *node.Record) error {
	if err := l.checkKey(rec.Key); err != nil {
		return badLine{err}
	}
	if len(rec.Value) > l.Value {
		return badLine{tooLarge("value", int64(len(rec.Value)), l.Value)}
	}
	return nil
}

// isBad reports whether err concerns one line only.
func isBad(err error) bool {
	var bad badLine
	return errors.As(err, &bad)
}
