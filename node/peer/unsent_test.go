package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// hangUp is a peer that reads a frame and ends the connection.
func hangUp(_ net.Conn, r *bufio.Reader) { readFrame(r, nil, defaultMaxFrame) }

// A call says that nothing of it was sent where that is certain, and only then.
func TestWhetherAnythingWasSent(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		play  func(conn net.Conn, r *bufio.Reader) // nil: nobody listens
		calls int                                  // before the one that counts
		ctx   func(t *testing.T) context.Context
		close bool
		want  error
		sent  bool
	}{
		"nobody listens":     {want: ErrUnavailable},
		"the circuit opened": {play: hangUp, calls: 1, want: ErrUnavailable},
		"closed":             {play: hangUp, close: true, want: ErrUnavailable},
		"canceled before": {play: hangUp, ctx: func(t *testing.T) context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx
		}, want: context.Canceled},
		"it hangs up":   {play: hangUp, want: ErrUnavailable, sent: true},
		"it is stalled": {play: func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, want: ErrUnavailable, sent: true},
		"it takes nothing": {
			play: func(net.Conn, *bufio.Reader) { time.Sleep(time.Hour) },
			ctx:  func(t *testing.T) context.Context { return within(t, time.Second) }, want: context.DeadlineExceeded, sent: true,
		},
		"half of it was answered": {play: func(conn net.Conn, r *bufio.Reader) {
			readFrame(r, nil, defaultMaxFrame)
			conn.Write(replyWith(true, 1))
		}, want: ErrUnavailable, sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := fakePeer(t, tc.play)
				if tc.play == nil {
					p.close()
				}
				c := dialled(t, ClientConfig{Dial: p.dial, FrameBytes: 1}, "server:1")
				for range tc.calls {
					c.Do(within(t, time.Minute), callOf(ReplicaWrites, put("k", "v")))
				}
				if tc.close {
					c.Close()
				}
				ctx := within(t, time.Minute)
				if tc.ctx != nil {
					ctx = tc.ctx(t)
				}
				err := c.Do(ctx, callOf(ReplicaWrites, put("k", "v"), put("l", "w")))
				if !errors.Is(err, tc.want) || errors.Is(err, ErrNotSent) == tc.sent {
					t.Errorf("got %v, want %v, sent: %v", err, tc.want, tc.sent)
				}
			})
		})
	}
}

// A call that leaves the queue was not sent, and will not be.
func TestWhatLeavesTheQueueWasNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen, release := make(chan string, 9), make(chan struct{})
		p := newPipes()
		t.Cleanup(serveOn(t, p, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
			for _, op := range call.Ops {
				seen <- string(op.Key)
			}
			<-release
		}}, nil))
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		done := make(chan error, 1)
		go func() { done <- c.Do(within(t, time.Minute), callOf(Writes, put("first", "v"))) }()
		<-seen
		if err := c.Do(within(t, time.Second), callOf(Writes, put("late", "v"))); !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrNotSent) {
			t.Errorf("at its deadline: %v", err)
		}
		ctx, cancel := context.WithCancel(within(t, time.Minute))
		time.AfterFunc(time.Second, cancel)
		if err := c.Do(ctx, callOf(Writes, put("gone", "v"))); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotSent) {
			t.Errorf("canceled: %v", err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.Do(within(t, time.Minute), callOf(Writes, put("last", "v"))); err != nil {
			t.Error(err)
		}
		if key := <-seen; key != "last" {
			t.Errorf("%q is sent", key)
		}
	})
}

// A stranger is told nothing.
func TestNothingIsSentToStrangers(t *testing.T) {
	t.Parallel()
	addr := serve(t, ServerConfig{Self: named("other")}, &fakeNode{}, nil)
	err := dialled(t, ClientConfig{}, addr).Do(within(t, 10*time.Second), callOf(Writes, put("k", "v")))
	if !errors.Is(err, ErrForeign) || !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
}

// What the next node reports as not sent arrives so, but for nothing else.
func TestNotSentTravelsWithItsReason(t *testing.T) {
	t.Parallel()
	down := &unsent{fmt.Errorf("n3: %w: connection refused", ErrUnavailable)}
	got := travelled(fmt.Errorf("put: %w", down))
	if !errors.Is(got, ErrUnavailable) || !errors.Is(got, ErrNotSent) || got.Error() != "put: "+down.Error() {
		t.Errorf("%v arrives as %v", down, got)
	}
	if again := travelled(got); !errors.Is(again, ErrUnavailable) || !errors.Is(again, ErrNotSent) {
		t.Errorf("%v arrives a second time as %v", got, again)
	}
	for _, why := range []error{ErrOverloaded, ErrForeign, kv.ErrNotFound} {
		if got := travelled(&unsent{why}); !errors.Is(got, why) || errors.Is(got, ErrUnavailable) {
			t.Errorf("%v arrives as %v", why, got)
		}
	}
	if got := travelled(ErrUnavailable); errors.Is(got, ErrNotSent) {
		t.Error("a peer that was unavailable arrives as one that was not asked")
	}
}
