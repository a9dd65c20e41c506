package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Format is the media type of a bulk load.
type Format string

// The formats of a bulk load.
const (
	Text   Format = "text/plain"           // a line each: the key, a space, the value
	CSV    Format = "text/csv"             // two columns; a first line "key,value" is a header
	NDJSON Format = "application/x-ndjson" // a Record a line: what Export gives
)

// maxBulkLine bounds a line of what a bulk load answers, in bytes.
const maxBulkLine = 1 << 20

// Import stores the records of input, reading it once and at the speed at
// which the node takes them, and returns the totals. It calls report, where
// that is not nil, with each line that the node answers meanwhile: progress at
// least every second, and bad records by their line. Records that failed are
// counted in the totals, and are no error. opts may ask for a consistency.
//
// On an error the totals are the last that were heard, and the records behind
// them may have been stored or not. Import does not wait for a Read of input
// that is under way then, whose bytes are lost.
func (c *Client) Import(
	ctx context.Context, format Format, input io.Reader, report func(BulkLine), opts ...Option,
) (BulkLine, error) {
	up := newUpload(input)
	// The transport waits for a Read of the body even when ctx has ended, and
	// input may be a terminal that gives nothing.
	stop := context.AfterFunc(ctx, up.abandon)
	defer stop()
	defer up.abandon()

	r := &request{method: http.MethodPost, path: "/v1/bulk", upload: up, write: true, stream: true}
	for _, opt := range append(opts[:len(opts):len(opts)], header("Content-Type", string(format))) {
		opt(r)
	}
	var totals BulkLine
	err := c.send(ctx, r, func(resp *http.Response) error {
		return readBulk(resp.Body, &totals, report)
	})
	if readErr := up.readError(); readErr != nil {
		err = fmt.Errorf("read input: %w", readErr)
	} else if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return totals, fmt.Errorf("import: %w", err)
	}
	return totals, nil
}

var errNoTotals = errors.New("the answer ended before its totals")

// readBulk reads what a bulk load answers until the totals.
func readBulk(body io.Reader, totals *BulkLine, report func(BulkLine)) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxBulkLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var line BulkLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("decode progress: %w", err)
		}
		if line.Done || line.Error == "" {
			*totals = line
		}
		if line.Done && line.Error != "" {
			return errors.New(line.Error) // of the load as a whole
		}
		if line.Done {
			return nil
		}
		if report != nil {
			report(line)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	return errNoTotals
}

// upload is the body of a bulk load. It begins to read its input when it is
// read itself, so that a node that cannot be reached costs nothing of it.
type upload struct {
	input io.Reader
	pr    *io.PipeReader
	pw    *io.PipeWriter

	start   sync.Once
	started atomic.Bool
	failed  atomic.Pointer[error] // why input could not be read on
}

func newUpload(input io.Reader) *upload {
	u := &upload{input: input}
	u.pr, u.pw = io.Pipe()
	return u
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.start.Do(func() {
		u.started.Store(true)
		go u.copy() // ends with the input, or when the pipe is closed
	})
	return u.pr.Read(p)
}

func (u *upload) copy() {
	buf := make([]byte, 128<<10)
	for {
		n, err := u.input.Read(buf)
		if _, werr := u.pw.Write(buf[:n]); werr != nil {
			return // abandoned
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			u.failed.Store(&err)
		}
		_ = u.pw.CloseWithError(err) // never fails
		return
	}
}

// abandon ends every Read, under way or to come.
func (u *upload) abandon() { _ = u.pr.Close() }

// begun reports whether anything may have been read of the input.
func (u *upload) begun() bool { return u.started.Load() }

// readError returns why the input could not be read on, or nil.
func (u *upload) readError() error {
	if err := u.failed.Load(); err != nil {
		return *err
	}
	return nil
}
