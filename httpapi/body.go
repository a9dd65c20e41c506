package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
)

// firstRead is how much memory a body gets before any of it has come, in
// bytes: a client that announces much and sends nothing must not cost much.
const firstRead = 64 << 10

// readBody reads the whole body of a request into buf or, where that is too
// small, a larger buffer. A body above limit bytes is refused with 413, and
// before any of it is read where its length is announced; what names it there.
// Other errors are the request's, too.
func (s *Server) readBody(r *http.Request, buf []byte, what string, limit int) ([]byte, error) {
	announced := r.ContentLength
	if announced > int64(limit) {
		return buf[:0], tooLarge(what, announced, limit)
	}
	most := limit + 1 // one more, to see that there is more
	if announced >= 0 {
		most = int(announced)
	}
	buf = buf[:0]
	for len(buf) < most {
		if len(buf) == cap(buf) {
			buf = grown(buf, most)
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), most)])
		buf = buf[:len(buf)+n]
		if err == io.EOF && (announced < 0 || len(buf) == most) {
			break
		}
		if err != nil && len(buf) < most {
			return buf, s.bodyError(err, len(buf))
		}
	}
	if len(buf) > limit {
		return buf, tooLarge(what, -1, limit)
	}
	return buf, nil
}

// grown returns buf with more room, for at most most bytes in all.
func grown(buf []byte, most int) []byte {
	larger := make([]byte, len(buf), min(most, max(firstRead, 2*len(buf))))
	copy(larger, buf)
	return larger
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
