package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/thunderdb/thunderdb/client"
)

// firstRead is how much memory a body gets before any of it has come, in
// bytes: a client that announces much and sends nothing must not cost much.
const firstRead = 64 << 10

// body is memory for the body of a request.
type body struct {
	bytes []byte // what was read; its memory may be there before
	taken int    // of Limits.BodyBytes
}

// errBodies is answered when the limit of the memory for bodies is reached.
var errBodies = &requestError{kind: client.ErrOverloaded, text: "the bodies of all requests take too much memory"}

// grow gives b more room, for at most most bytes in all.
func (s *Server) grow(b *body, most int) error {
	size := min(most, max(firstRead, 2*len(b.bytes)))
	more := size - b.taken
	if s.bodyBytes.Add(int64(more)) > int64(s.limits.BodyBytes) {
		s.bodyBytes.Add(-int64(more))
		return errBodies
	}
	b.taken = size
	larger := make([]byte, len(b.bytes), size)
	copy(larger, b.bytes)
	b.bytes = larger
	return nil
}

// release is called when a request is done with its body.
func (s *Server) release(b *body) { s.bodyBytes.Add(-int64(b.taken)) }

// readBody reads the whole body of a request into b, whose memory it uses
// where that is enough. A body above limit bytes is refused with 413, and
// before any of it is read where its length is announced; what names it there.
// Other errors are the request's, too. The caller releases b, whatever the
// error.
func (s *Server) readBody(r *http.Request, b *body, what string, limit int) error {
	announced := r.ContentLength
	if announced > int64(limit) {
		return tooLarge(what, announced, limit)
	}
	most := limit + 1 // one more, to see that there is more
	if announced >= 0 {
		most = int(announced)
	}
	b.bytes = b.bytes[:0]
	for len(b.bytes) < most {
		if len(b.bytes) == cap(b.bytes) {
			if err := s.grow(b, most); err != nil {
				return err
			}
		}
		buf := b.bytes
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), most)])
		b.bytes = buf[:len(buf)+n]
		if err == io.EOF && (announced < 0 || len(b.bytes) == most) {
			break
		}
		if err != nil && len(b.bytes) < most {
			return s.bodyError(err, len(b.bytes))
		}
	}
	if len(b.bytes) > limit {
		return tooLarge(what, -1, limit)
	}
	return nil
}

// bodyError says why a body could not be read after n bytes.
func (s *Server) bodyError(err error, n int) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return invalid("the body did not arrive within %v: %d bytes did", s.timeouts.Read, n)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return invalid("the body ended early, after %d bytes", n)
	}
	return invalid("read the body: %v", err)
}
