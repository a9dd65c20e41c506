package peer

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// What a peer has not begun to answer when it says goodbye was not sent, and may
// be tried elsewhere; but not where a part of it was answered.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers int // operations that are answered before
		sent    bool
	}{
		"at once":           {0, false},
		"after one of two":  {1, true},
		"after an own word": {-1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
					if _, err := readFrame(r, nil, defaultMaxFrame); err != nil {
						return
					}
					if tc.answers != 0 {
						conn.Write(replyWith(false, max(0, tc.answers)))
					}
					conn.Write(goodbye(1, 0))
					io.Copy(io.Discard, r)
				})
				c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
				err := c.Do(within(t, time.Minute), callOf(Writes, put("k", "v"), put("l", "w")))
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotSent) == tc.sent {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A server that ends says goodbye, and lets its peer hang up first.
func TestServerSaysGoodbye(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		stop := serveOn(t, p, ServerConfig{}, &fakeNode{}, nil)
		conn := rawStream(t, p, Writes).conn
		synctest.Wait() // it waits for a frame
		ended := make(chan time.Time, 1)
		go func() { stop(); ended <- time.Now() }()
		body, err := readFrame(bufio.NewReader(conn), nil, defaultMaxFrame)
		if err != nil || !isGoodbye(body) {
			t.Fatalf("it says %v, %v", body, err)
		}
		if _, err := conn.Write(requestFrame(time.Minute, "k")); err != nil {
			t.Errorf("it has hung up: %v", err)
		}
		said := time.Now()
		time.Sleep(goodbyeGrace / 2)
		conn.Close()
		if took := (<-ended).Sub(said); took != goodbyeGrace/2 {
			t.Errorf("it ends after %v", took)
		}
	})
}
