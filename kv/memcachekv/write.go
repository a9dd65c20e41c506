package memcachekv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// write is an item to be stored, or removed, where it still is as it was when it
// was read, and what became of that.
type write struct {
	name   string
	data   []byte
	cas    uint64 // of what it replaces; 0: there must be none
	ttl    int    // seconds until Memcached drops it; 0: never, -1: at once
	remove bool   // it has no data and no ttl

	lost bool  // it was not stored, for there is another item by now, or none
	err  error // it was not stored: kv.ErrFull or kv.ErrTooLarge
}

// storeOne stores one item. The error is that of w, too.
func (s *session) storeOne(w *write) error {
	if err := s.store([]*write{w}); err != nil {
		return err
	}
	return w.err
}

// store stores all of writes at once: it sends them together and then reads
// the answers, which memcache.Client does one by one. Of an error it may be
// that any of them were stored. The caller has used the client before, so that
// there is a connection, and bounds how much writes are, see maxFlight.
func (s *session) store(writes []*write) error {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l == nil {
		return errLost
	}
	err := l.store(writes)
	if err != nil {
		l.Close() // nobody knows what comes next from there
	}
	return err
}

func (l *link) store(writes []*write) error {
	if err := l.extend(); err != nil {
		return err
	}
	out := bufio.NewWriterSize(l.Conn, flightBuffer(writes))
	for _, w := range writes {
		// What goes wrong here, Flush returns.
		_, _ = out.Write(w.command(out.AvailableBuffer()))
		if !w.remove {
			_, _ = out.Write(w.data)
			_, _ = out.WriteString("\r\n")
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if l.read == nil {
		l.read = bufio.NewReaderSize(l.Conn, 512)
	}
	for _, w := range writes {
		line, err := l.read.ReadSlice('\n')
		if err != nil {
			return err
		}
		if err := w.answered(bytes.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
	return nil
}

// flightBuffer returns how large a buffer serves writes: large values go past
// it.
func flightBuffer(writes []*write) int {
	size := 0
	for _, w := range writes {
		size += len(w.name) + len(w.data) + 64
	}
	return min(size, 16<<10)
}

// extend gives a step the client's timeout, within the call's.
func (l *link) extend() error {
	return l.SetDeadline(time.Now().Add(l.session.client.Timeout))
}

// command appends the first line of a write to dst.
func (w *write) command(dst []byte) []byte {
	if w.remove { // of the older commands to delete, none compares
		dst = append(append(append(dst, "md "...), w.name...), " C"...)
		return append(strconv.AppendUint(dst, w.cas, 10), "\r\n"...)
	}
	verb := "add "
	if w.cas != 0 {
		verb = "cas "
	}
	dst = append(append(dst, verb...), w.name...)
	dst = strconv.AppendInt(append(dst, " 0 "...), int64(w.ttl), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(len(w.data)), 10)
	if w.cas != 0 {
		dst = strconv.AppendUint(append(dst, ' '), w.cas, 10)
	}
	return append(dst, "\r\n"...)
}

// answered takes the server's answer. The error is that of one that leaves
// unknown where the next answer begins.
func (w *write) answered(line []byte) error {
	w.lost, w.err = false, nil
	switch {
	case bytes.Equal(line, []byte("STORED")), w.remove && bytes.Equal(line, []byte("HD")):
	case bytes.Equal(line, []byte("NOT_STORED")), bytes.Equal(line, []byte("EXISTS")), bytes.Equal(line, []byte("NOT_FOUND")):
		w.lost = true
	case w.remove && (bytes.Equal(line, []byte("EX")) || bytes.Equal(line, []byte("NF"))):
		w.lost = true
	case bytes.HasPrefix(line, []byte("SERVER_ERROR out of memory storing object")):
		w.err = kv.ErrFull
	case bytes.HasPrefix(line, []byte("SERVER_ERROR object too large for cache")):
		w.err = kv.ErrTooLarge
	case len(line) == 0:
		return errors.New("an empty answer")
	default:
		return fmt.Errorf("answer %q", line)
	}
	return nil
}
