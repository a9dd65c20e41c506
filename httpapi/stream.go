package httpapi

import (
	"bufio"
	"context"
	"net/http"
	"time"

	"github.com/thunderdb/thunderdb/node"
)

// streamBuffer is how much of a streamed response is gathered, in bytes.
const streamBuffer = 64 << 10

// stream is a response of any length. Its header is sent with its first
// bytes, so that what fails before can still be answered with an error.
type stream struct {
	out   *bufio.Writer
	to    patientWriter
	begin func(http.Header) // sets the headers
	begun bool
	line  []byte // for use by whoever writes
}

// newStream returns a stream into w, with the headers that begin sets.
func (s *Server) newStream(w http.ResponseWriter, begin func(http.Header)) *stream {
	st := &stream{to: s.patient(w), begin: begin}
	st.out = bufio.NewWriterSize(st, streamBuffer)
	return st
}

// Write sends p, after the header where that was not sent.
func (st *stream) Write(p []byte) (int, error) {
	if !st.begun {
		st.begun = true
		st.begin(st.to.Header())
	}
	return st.to.Write(p)
}

// endStream ends a response that err, where it is not nil, keeps from being
// complete. When part of it was sent, that breaks the connection, so that the
// part is not taken for all.
func (s *Server) endStream(w http.ResponseWriter, r *http.Request, st *stream, err error) {
	if err == nil {
		err = st.out.Flush()
	}
	switch {
	case err == nil && !st.begun:
		st.begin(w.Header())
	case err == nil:
	case !st.begun:
		s.failRequest(w, r, err)
	default:
		s.logger.Debug("stream broken off", "path", r.URL.Path, "error", err)
		if c := connOf(r); c != nil && !r.ProtoAtLeast(1, 1) {
			c.resetOnClose() // without chunks a connection's end is the body's
		}
		panic(http.ErrAbortHandler)
	}
}

// patientWriter gives each write of a response as long as a stream may stand
// still.
type patientWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
	timeout    time.Duration
}

func (s *Server) patient(w http.ResponseWriter) patientWriter {
	return patientWriter{w, http.NewResponseController(w), s.timeouts.Stream}
}

// Write passes b on.
func (p patientWriter) Write(b []byte) (int, error) {
	// A response that knows no deadlines, such as a test's, needs none.
	_ = p.controller.SetWriteDeadline(time.Now().Add(p.timeout))
	return p.ResponseWriter.Write(b)
}

// visitAll calls visit for the entries of a listing, a page at a time, until
// it returns an error.
func (s *Server) visitAll(ctx context.Context, req node.ListRequest, visit func(*node.Listed) error) error {
	for {
		page, err := s.list(ctx, req)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if err := visit(&page.Entries[i]); err != nil {
				return err
			}
		}
		if page.Complete {
			return nil
		}
		req.Cursor = page.Cursor
	}
}
