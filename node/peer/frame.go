package peer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// A frame is a length (4 bytes) and that many bytes. Which kind of frame it is
// follows from the direction: requests go one way, replies the other.

const (
	// lengthSize is the size in bytes of a frame's length.
	lengthSize = 4
	// bufferSize is the size in bytes of what is read from a connection at
	// once.
	bufferSize = 64 << 10
	// keepBuffer is the capacity in bytes above which a buffer is not kept for
	// the next frame.
	keepBuffer = 2 << 20
	// growStep is how many bytes of room are made for a frame before as many
	// have come: a length is only a claim.
	growStep = 1 << 20
	// writeStep is how many bytes are written under one deadline.
	writeStep = 256 << 10
)

// beginFrame empties buf and leaves room for the length.
func beginFrame(buf []byte) []byte {
	return append(recycle(buf), 0, 0, 0, 0)
}

// endFrame fills in the length.
func endFrame(buf []byte) {
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-lengthSize))
}

// recycle empties buf, or drops it where it has grown too large to keep.
func recycle(buf []byte) []byte {
	if cap(buf) > keepBuffer {
		return nil
	}
	return buf[:0]
}

// readFrame reads the body of a frame into buf, or into a larger slice where
// that is too small. The error is io.EOF where the connection ended between
// two frames.
func readFrame(r *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	head, err := r.Peek(lengthSize)
	if err != nil {
		if len(head) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head))
	if size > limit {
		return nil, fmt.Errorf("a frame of %d bytes, above the limit of %d", size, limit)
	}
	_, _ = r.Discard(lengthSize) // they are buffered: it cannot fail
	buf = recycle(buf)
	for len(buf) < size {
		from := len(buf)
		step := min(size-from, max(growStep, from, cap(buf)-from))
		buf = slices.Grow(buf, step)[:from+step]
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

// stallWriter writes to a connection that must keep taking bytes: a write
// fails once nothing was taken for about a stall time. The deadline is moved
// only when half of it is used up, so that small writes cost no timer each.
// It is used by one goroutine at a time.
type stallWriter struct {
	conn  net.Conn
	stall time.Duration
	until time.Time // the connection's write deadline
}

func (w *stallWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if now := time.Now(); w.until.Sub(now) < w.stall/2 {
			w.until = now.Add(w.stall)
			if err := w.conn.SetWriteDeadline(w.until); err != nil {
				return done, err
			}
		}
		n, err := w.conn.Write(p[done:min(len(p), done+writeStep)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
