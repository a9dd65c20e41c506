package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/thunderdb/thunderdb/node"
)

// csvParser reads CSV (RFC 4180) of two columns. A quoted field may go over
// several lines; its bytes are kept as they are. Where it is not closed within
// what one record may hold, its quote is taken for a stray one: the line that
// the record begins on is bad, and the next is read as a record.
type csvParser struct {
	lines   lines
	limits  *Limits
	begun   bool
	columns int    // of the record being read: ended ones
	quoted  bool   // the field being read is within quotes
	cut     int    // where the first column ends in text
	text    []byte // the columns without their quotes
}

var (
	errBareQuote  = badLine{errors.New("a quote stands in a field that does not begin with one")}
	errAfterQuote = badLine{errors.New("a field goes on after its closing quote")}
	errOpenQuote  = badLine{errors.New("a quote is not closed within what one record may hold")}
)

func (p *csvParser) next(rec *node.Record) error {
	for {
		piece, ends, err := p.lines.piece()
		rec.Line = p.lines.number
		switch {
		case err != nil:
			return err
		case ends && blank(piece):
			continue
		case !p.begun:
			p.begun = true
			if string(trimEnd(piece)) == "key,value" {
				continue
			}
		}
		rec.ContentType = ""
		if ends && bytes.IndexByte(piece, '"') < 0 {
			err = p.plain(rec, trimEnd(piece))
		} else {
			err = p.record(rec, piece, ends)
		}
		if err != nil {
			return err
		}
		rec.ContentType = detectType(rec.Value)
		return p.limits.checkRecord(rec)
	}
}

// plain reads a record without quotes.
func (p *csvParser) plain(rec *node.Record, line []byte) error {
	comma := bytes.IndexByte(line, ',')
	if comma < 0 || bytes.IndexByte(line[comma+1:], ',') >= 0 {
		return errColumns(1 + bytes.Count(line, []byte(",")))
	}
	rec.Key, rec.Value = line[:comma], line[comma+1:]
	return nil
}

func errColumns(n int) error { return badLine{fmt.Errorf("the record has %d columns, want 2", n)} }

// record reads a record that begins with piece.
func (p *csvParser) record(rec *node.Record, piece []byte, ends bool) error {
	if !ends {
		return p.lines.skip()
	}
	p.columns, p.quoted, p.text = 0, false, p.text[:0]
	err := p.feed(piece)
	if err == nil && p.quoted {
		err = p.goOn(rec.Line, p.lines.most-len(piece))
	}
	if err != nil {
		return err
	}
	if p.columns != 2 {
		return errColumns(p.columns)
	}
	rec.Key, rec.Value = p.text[:p.cut], p.text[p.cut:]
	return nil
}

// goOn reads the rest of a record whose first line, number first, ended within
// quotes. The rest has at most most bytes. Where the quotes turn out to be
// wrong, the first line alone is bad, and the next is read anew.
//
// However hostile the input, no line is read more than three times: of the
// lines that a record went on over, each but the last has an even number of
// quotes, as it began and ended within them. When it is read anew, it begins
// outside of them, and so ends there: none of these goes on over others.
func (p *csvParser) goOn(first int64, most int) error {
	p.lines.hold()
	for p.quoted {
		piece, _, err := p.lines.piece()
		switch {
		case errors.Is(err, io.EOF), err == nil && p.lines.held > most:
			err = errOpenQuote
		case err == nil:
			err = p.feed(piece)
		}
		if err != nil {
			p.lines.rewind(first)
			return err
		}
	}
	p.lines.release()
	return nil
}

// feed reads a line of the record.
func (p *csvParser) feed(line []byte) error {
	for {
		if !p.quoted {
			if len(line) == 0 || line[0] != '"' {
				field, rest, more := bytes.Cut(line, []byte(","))
				if !more {
					field = trimEnd(field)
				}
				if bytes.IndexByte(field, '"') >= 0 {
					return errBareQuote
				}
				p.text = append(p.text, field...)
				p.endField()
				if !more {
					return nil
				}
				line = rest
				continue
			}
			p.quoted = true
			line = line[1:]
		}
		quote := bytes.IndexByte(line, '"')
		if quote < 0 {
			p.text = append(p.text, line...)
			return nil
		}
		p.text = append(p.text, line[:quote]...)
		line = line[quote+1:]
		if len(line) > 0 && line[0] == '"' {
			p.text = append(p.text, '"')
			line = line[1:]
			continue
		}
		p.quoted = false
		p.endField()
		if len(trimEnd(line)) == 0 {
			return nil
		}
		if line[0] != ',' {
			return errAfterQuote
		}
		line = line[1:]
	}
}

// endField ends a column.
func (p *csvParser) endField() {
	if p.columns == 0 {
		p.cut = len(p.text)
	}
	p.columns++
}
