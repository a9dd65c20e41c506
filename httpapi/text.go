package httpapi

import (
	"bytes"
	"errors"

	"github.com/thunderdb/thunderdb/node"
)

// textParser reads the original's format: a line each, the key, a space, the
// value. The value may contain spaces, and be empty.
type textParser struct {
	lines  lines
	limits *Limits
}

var errNoSpace = badLine{errors.New("no space stands between key and value")}

func (p *textParser) next(rec *node.Record) error {
	for {
		line, err := p.lines.line()
		rec.Line = p.lines.number
		if err != nil {
			return err
		}
		if blank(line) {
			continue
		}
		space := bytes.IndexByte(line, ' ')
		if space < 0 {
			return errNoSpace
		}
		rec.Key, rec.Value = line[:space], line[space+1:]
		rec.ContentType = detectType(rec.Value)
		return p.limits.checkRecord(rec)
	}
}
