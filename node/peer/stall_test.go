package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// These tests run on a clock of their own, over pipes, so that their times
// are exact.

// fakePeer accepts streams as the node called server would, and hands each to
// play, with what follows the handshake. It ends with the test.
func fakePeer(t *testing.T, play func(conn net.Conn, r *bufio.Reader)) *pipes {
	t.Helper()
	p := newPipes()
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(p.close)
	group.Go(func() {
		for {
			conn, err := p.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+
					"\r\n"+headerFrom+": server\r\n\r\n")
				play(conn, r)
			})
		}
	})
	return p
}

// replyWith returns a reply frame with the results of n gets.
func replyWith(last bool, n int) []byte {
	buf := beginReply(nil)
	for range n {
		buf = append(buf, byte(codeNotFound), 0)
	}
	endReply(buf, 1, 0, last)
	return buf
}

func TestPeerThatNeverAnswersCostsTheStallTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := fakePeer(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		ctx := within(t, time.Minute)
		var group sync.WaitGroup
		begin := time.Now()
		for range 5 {
			group.Go(func() {
				if err := c.Do(ctx, callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		group.Wait()
		if took := time.Since(begin); took != defaultStall {
			t.Errorf("the calls end after %v, want %v", took, defaultStall)
		}
		begin = time.Now()
		if err := c.Do(ctx, callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a call right after: %v", err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("a call right after ends after %v", took)
		}
		// One call tries it again; others fail at once until there is an answer.
		time.Sleep(minBackoff)
		group.Go(func() { c.Do(ctx, callOf(Reads, get("k"))) })
		time.Sleep(time.Second)
		if err := c.Do(ctx, callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a call beside the one that tries: %v", err)
		}
		if took := time.Since(begin); took != minBackoff+time.Second {
			t.Errorf("a call beside the one that tries waits %v", took)
		}
		group.Wait()
	})
}

func TestCallEndsByItsDeadlineWhateverThePeerDoes(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]func(t *testing.T) *pipes{
		"never accepts": func(*testing.T) *pipes { return newPipes() },
		"never reads a request": func(t *testing.T) *pipes {
			return fakePeer(t, func(_ net.Conn, r *bufio.Reader) { <-t.Context().Done() })
		},
		"never answers": func(t *testing.T) *pipes {
			return fakePeer(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
		},
		"only ever says that it is at work": func(t *testing.T) *pipes {
			return fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
				if _, err := readFrame(r, nil, defaultMaxFrame); err != nil {
					return
				}
				for {
					time.Sleep(time.Second / 4)
					if _, err := conn.Write(replyWith(false, 0)); err != nil {
						return
					}
				}
			})
		},
	} {
		for _, size := range []int{1, callerSends + 1} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const limit = time.Second
					c := dialled(t, ClientConfig{Dial: p(t).dial}, "server:1")
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					begin := time.Now()
					err := c.Do(ctx, callOf(Writes, put("k", strings.Repeat("v", size))))
					if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable) {
						t.Errorf("%d bytes: %v", size, err)
					}
					if took := time.Since(begin); took > limit {
						t.Errorf("%d bytes: ends after %v, want %v", size, took, limit)
					}
				})
			})
		}
	}
}

// A peer that is at work for longer than the stall time is not taken for one
// that has stalled.
func TestSlowServiceIsNoStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		t.Cleanup(serveOn(t, p, ServerConfig{}, &fakeNode{serve: func(context.Context, *Call) {
			time.Sleep(3 * defaultStall)
		}}, nil))
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		ctx := within(t, time.Minute)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if err := c.Do(ctx, callOf(Reads, get("k"))); err != nil {
					t.Errorf("got %v", err)
				}
			})
		}
		group.Wait()
		time.Sleep(time.Hour) // an idle connection is kept
		if err := c.Do(within(t, time.Minute), callOf(Reads, get("k"))); err != nil {
			t.Errorf("after an hour: %v", err)
		}
		if n := p.dials.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Neither end of an idle stream holds on to what its last frames took.
func TestIdleStreamsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server := NewServer(ServerConfig{Self: named("server")}, &fakeNode{})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- server.Serve(ctx, p) }()
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		for _, call := range []*Call{callOf(Writes, put("k", strings.Repeat("v", 1<<20))), callOf(Writes, get("k"))} {
			if err := c.Do(within(t, time.Minute), call); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * defaultStall)
		c.lanes[Writes].mu.Lock()
		s := c.lanes[Writes].stream
		if n := cap(s.in) + cap(s.frame.out) + cap(s.rep.results); n > 100 {
			t.Errorf("the client holds %d bytes", n)
		}
		c.lanes[Writes].mu.Unlock()
		for end := range server.sessions {
			end.mu.Lock()
			if n := cap(end.in) + cap(end.out) + cap(end.req.ops); n > 100 {
				t.Errorf("the server holds %d bytes", n)
			}
			end.mu.Unlock()
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A handler that overruns its deadline holds up the calls behind it no longer
// than the deadline and some grace.
func TestOverrunIsCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		t.Cleanup(serveOn(t, p, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
			if string(call.Ops[0].Key) == "slow" {
				time.Sleep(time.Hour)
			}
		}}, nil))
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Do(short, callOf(Reads, get("slow"))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the slow call: %v", err)
		}
		time.Sleep(answerGrace + maxBackoff)
		if err := c.Do(within(t, time.Second), callOf(Reads, get("k"))); err != nil {
			t.Errorf("the next call: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

func TestHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		defer p.close()
		go func() {
			conn, err := p.Accept()
			if err == nil {
				io.Copy(io.Discard, conn) // takes the request, and says nothing
			}
		}()
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		begin := time.Now()
		if err := c.Do(within(t, time.Minute), callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != defaultHandshake {
			t.Errorf("given up after %v, want %v", took, defaultHandshake)
		}
	})
}

// What a peer answers that it was not asked, or answers wrongly, ends the
// connection, and never a call as done.
func TestWrongRepliesAreRefused(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string][]byte{
		"too few results":  replyWith(true, 1),
		"too many results": replyWith(true, 3),
		"cut short":        replyWith(true, 2)[:lengthSize+replyHeader+1],
		"unknown flags":    append(append([]byte{0, 0, 0, replyHeader}, make([]byte, replyHeader-1)...), 0x80),
		"huge":             {0xff, 0xff, 0xff, 0xff, 1, 2, 3},
		"HTTP":             []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		"nothing":          nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
					if _, err := readFrame(r, nil, defaultMaxFrame); err == nil {
						conn.Write(reply)
					}
				})
				c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
				err := c.Do(within(t, time.Minute), callOf(Reads, get("a"), get("b")))
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A peer may answer before it has taken all of a frame. What is sent next
// waits for the rest.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got request
		p := fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
			readFrame(r, nil, defaultMaxFrame)
			conn.Write(replyWith(true, 1))
			size := make([]byte, lengthSize)
			io.ReadFull(r, size)
			conn.Write(replyWith(true, 1))
			time.Sleep(time.Second)
			io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(size)))
			if body, err := readFrame(r, nil, defaultMaxFrame); err == nil && decodeRequest(body, &got) == nil {
				conn.Write(replyWith(true, 1))
			}
		})
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		ctx := within(t, time.Minute)
		large := strings.Repeat("v", 1<<20)
		for _, op := range []kv.Op{get("connect"), put("early", large), put("next", large)} {
			if err := c.Do(ctx, callOf(Writes, op)); err != nil {
				t.Fatalf("%s: %v", op.Key, err)
			}
		}
		if len(got.ops) != 1 || string(got.ops[0].Key) != "next" {
			t.Errorf("the next frame is %d operations", len(got.ops))
		}
	})
}

func TestUnaskedRepliesEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, unasked := range map[string][]byte{
		"a result":  replyWith(true, 1),
		"an end":    replyWith(true, 0),
		"a promise": replyWith(false, 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				p := fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
					readFrame(r, nil, defaultMaxFrame)
					conn.Write(replyWith(true, 1))
					conn.Write(unasked)
					_, err := r.ReadByte()
					ended <- err
				})
				c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
				if err := c.Do(within(t, time.Minute), callOf(Reads, get("a"))); err != nil {
					t.Errorf("the call that was asked: %v", err)
				}
				synctest.Wait()
				select {
				case err := <-ended:
					if !errors.Is(err, io.EOF) {
						t.Errorf("the connection ends with %v", err)
					}
				default:
					t.Error("the connection goes on")
				}
			})
		})
	}
}
