package peer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadFrame(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("x"), 3<<20+7)
	long := append(beginFrame(nil), big...)
	endFrame(long)
	for _, tc := range []struct {
		name string
		in   []byte
		want []byte
		err  error
	}{
		{"between frames", nil, nil, io.EOF},
		{"within the length", []byte{0, 0}, nil, io.ErrUnexpectedEOF},
		{"no body", []byte{0, 0, 0, 9}, nil, io.ErrUnexpectedEOF},
		{"within the body", []byte{0, 0, 0, 9, 1}, nil, io.ErrUnexpectedEOF},
		{"empty", []byte{0, 0, 0, 0}, []byte{}, nil},
		{"larger than any buffer", long, big, nil},
	} {
		got, err := readFrame(bufio.NewReader(bytes.NewReader(tc.in)), []byte("left over"), 64<<20)
		if err != tc.err || !bytes.Equal(got, tc.want) { //nolint:errorlint // never wrapped
			t.Errorf("%s: %d bytes, %v; want %d, %v", tc.name, len(got), err, len(tc.want), tc.err)
		}
	}
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(long)), nil, 1<<20); err == nil {
		t.Error("a frame above the limit is read")
	}
}

// greedReader notes the largest read that was asked of it.
type greedReader struct {
	r   io.Reader
	max int
}

func (g *greedReader) Read(p []byte) (int, error) {
	g.max = max(g.max, len(p))
	return g.r.Read(p)
}

// A length is only a claim: memory is taken as the bytes come.
func TestReadFrameTrustsNoLength(t *testing.T) {
	t.Parallel()
	in := append([]byte{3, 0xff, 0xff, 0xff}, make([]byte, bufferSize)...) // 64 MiB, it says
	g := &greedReader{r: bytes.NewReader(in)}
	if _, err := readFrame(bufio.NewReader(g), nil, 64<<20); err == nil {
		t.Error("a cut frame is read")
	}
	if g.max > growStep {
		t.Errorf("room for %d bytes where %d came", g.max, bufferSize)
	}
}

// A write goes on for as long as the other end takes something, and ends once
// it takes nothing.
func TestStallWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		const stall = 4 * time.Second
		w := stallWriter{conn: here, stall: stall}
		taken := make(chan int, 1)
		go func() {
			buf, sum := make([]byte, writeStep), 0
			for range 8 { // for twice the stall time
				<-time.After(stall / 4)
				n, _ := io.ReadFull(there, buf)
				sum += n
			}
			taken <- sum
		}()
		begin := time.Now()
		n, err := w.Write(make([]byte, 100*writeStep))
		if sum := <-taken; n != sum || sum != 8*writeStep || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes of %d taken: %v", n, sum, err)
		}
		if took := time.Since(begin); took < 2*stall || took > 3*stall {
			t.Errorf("gave up after %v", took)
		}
	})
}
