package httpapi

import (
	"bytes"
	"errors"
	"io"
)

// lineBuffer is the size that a reader of lines begins with, in bytes.
const lineBuffer = 128 << 10

// lines cuts an input into lines, in memory that does not grow with it.
type lines struct {
	from   io.Reader
	most   int   // about how many bytes the longest line has that is kept whole
	number int64 // of the line last returned, from 1

	buf        []byte
	begin, end int   // of what buf holds that was not returned yet
	within     bool  // what was returned last did not end its line
	holding    bool  // what is returned is kept too, for rewind
	held       int   // how many bytes before begin are
	err        error // why from gives no more
}

func newLines(from io.Reader, most int) lines {
	return lines{from: from, most: most, buf: make([]byte, lineBuffer)}
}

// piece returns the next line with its end or, where it is above the limit,
// some of it, and then the rest in one or more pieces; whole or last says that
// the line ends with it. A piece is valid until the next call. The error is
// io.EOF at the input's end, or the input's.
func (l *lines) piece() (piece []byte, ends bool, err error) {
	if !l.within {
		l.number++
	}
	for scanned := 0; ; {
		if i := bytes.IndexByte(l.buf[l.begin+scanned:l.end], '\n'); i >= 0 {
			return l.cut(scanned + i + 1), true, nil
		}
		scanned = l.end - l.begin
		switch {
		case errors.Is(l.err, io.EOF) && scanned > 0:
			return l.cut(scanned), true, nil
		case l.err != nil: // what came last may be half a line
			return nil, false, l.err
		case scanned > l.most:
			piece = l.cut(scanned)
			l.within = true
			return piece, false, nil
		}
		l.fill()
	}
}

// cut returns the next n bytes, which end a line.
func (l *lines) cut(n int) []byte {
	piece := l.buf[l.begin : l.begin+n]
	l.begin += n
	if l.holding {
		l.held += n
	}
	l.within = false
	return piece
}

// hold keeps what comes from here on until rewind or release is called.
func (l *lines) hold() { l.holding, l.held = true, 0 }

// release ends hold.
func (l *lines) release() { l.holding, l.held = false, 0 }

// rewind ends hold and goes back to where it began, after line number.
func (l *lines) rewind(number int64) {
	l.begin -= l.held
	l.number, l.within = number, false
	l.release()
}

// fill reads more of the input.
func (l *lines) fill() {
	if first := l.begin - l.held; first > 0 {
		l.end = copy(l.buf, l.buf[first:l.end])
		l.begin = l.held
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := l.from.Read(l.buf[l.end:])
	l.end += n
	l.err = err
}

// badLine is an error of one line. Those after it can be read.
type badLine struct{ error }

var errLongLine = badLine{errors.New("the line is too long for any record within the limits")}

// line returns the next line without its end; errLongLine, having skipped it,
// where it is above the limit.
func (l *lines) line() ([]byte, error) {
	piece, ends, err := l.piece()
	if err != nil {
		return nil, err
	}
	if ends {
		return trimEnd(piece), nil
	}
	return nil, l.skip()
}

// skip reads on to the end of a line, and returns errLongLine for it.
func (l *lines) skip() error {
	for {
		_, ends, err := l.piece()
		switch {
		case ends, errors.Is(err, io.EOF):
			return errLongLine
		case err != nil:
			return err
		}
	}
}

// trimEnd returns a line without its end, which is \n or \r\n.
func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// blank reports whether a line has nothing but white space.
func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
