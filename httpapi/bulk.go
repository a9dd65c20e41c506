package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// bulk serves POST /v1/bulk. It reads records and hands them to the node as
// fast as that takes them, while a second goroutine answers. Nothing is kept
// but what is under way: a node that is slow slows the reading of the body,
// and so does a client that does not read its errors, until its time is up.
//
// Only a load of which every record was decided ends with a line that says
// done.
func (s *Server) bulk(w http.ResponseWriter, r *http.Request) {
	in := &patientReader{body: r.Body, controller: http.NewResponseController(w), timeout: s.timeouts.Stream}
	records, err := s.newParser(r.Header.Get("Content-Type"), in)
	if encoding := r.Header.Get("Content-Encoding"); err == nil && encoding != "" && encoding != "identity" {
		err = &requestError{client.ErrMediaType, fmt.Sprintf("Content-Encoding %q: send the body as it is", encoding)}
	}
	if err == nil {
		err = s.backend.Cluster.Ready()
	}
	need := 0
	if err == nil {
		need, err = s.bulkNeed(r)
	}
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	// Where this is not supported, the answer waits for the body's end.
	_ = in.controller.EnableFullDuplex()
	w.Header()["Content-Type"] = valueNDJSON

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	answer := s.newBulkAnswer(w, cancel)
	answer.load = s.backend.Load(ctx, answer.report)
	answer.start()
	defer answer.abandon()
	line, err := s.readRecords(r, records, need, answer)
	if in.failed != nil && errors.Is(err, context.Canceled) {
		err = in.failed // which made net/http cancel the context
	}
	if closeErr := answer.load.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err := answer.end(line, err); err != nil {
		s.logger.Debug("bulk load broken off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// readRecords hands all records to the load. It returns the line at which it
// ended, and nil where that was the last; otherwise the rest of the body is
// never read, and the connection cannot be used for another request.
func (s *Server) readRecords(r *http.Request, records parser, need int, answer *bulkAnswer) (int64, error) {
	whole := false
	defer func() {
		if c := connOf(r); c != nil && !whole {
			c.stopReading()
		}
	}()
	var rec node.Record
	for {
		err := records.next(&rec)
		switch {
		case err == nil:
			answer.read.Add(1)
			rec.Need = need
			err = answer.load.Add(rec)
		case errors.Is(err, io.EOF):
			whole = true
			return rec.Line, nil
		case isBad(err):
			answer.read.Add(1)
			answer.bad.Add(1)
			answer.report(rec.Line, err)
			err = answer.broken()
		}
		if err != nil {
			return rec.Line, err
		}
	}
}

// patientReader gives each read of a body as long as a stream may stand still.
type patientReader struct {
	body       io.Reader
	controller *http.ResponseController
	timeout    time.Duration
	failed     error // what Read returned last, if not the end
}

// Read passes on what comes.
func (p *patientReader) Read(b []byte) (int, error) {
	// A request that knows no deadlines, such as a test's, needs none.
	_ = p.controller.SetReadDeadline(time.Now().Add(p.timeout))
	n, err := p.body.Read(b)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.failed = fmt.Errorf("nothing more of the body came within %v", p.timeout)
	default:
		// Not wrapped: no other error may be taken for the end.
		p.failed = errors.New("read the body: " + err.Error())
	}
	return n, p.failed
}
