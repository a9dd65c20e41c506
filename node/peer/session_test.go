package peer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tc := range []struct {
		name        string
		calls, want []wireCall
	}{
		{"neighbours, under the latest deadline",
			[]wireCall{{s, 1, 0, 0, 1}, {3 * s, 1, 0, 1, 2}, {2 * s, 1, 0, 2, 3}},
			[]wireCall{{3 * s, 1, 0, 0, 3}}},
		{"rings are kept apart",
			[]wireCall{{s, 1, 0, 0, 1}, {s, 2, 0, 1, 2}, {s, 1, 0, 2, 3}},
			[]wireCall{{s, 1, 0, 0, 1}, {s, 2, 0, 1, 2}, {s, 1, 0, 2, 3}}},
		{"versions read under are kept apart",
			[]wireCall{{s, 1, 1, 0, 1}, {s, 1, 0, 1, 2}, {s, 1, 0, 2, 3}},
			[]wireCall{{s, 1, 1, 0, 1}, {s, 1, 0, 1, 3}}},
		{"what comes too late is kept apart",
			[]wireCall{{s, 1, 0, 0, 1}, {0, 1, 0, 1, 2}, {0, 1, 0, 2, 3}, {s, 1, 0, 3, 4}},
			[]wireCall{{s, 1, 0, 0, 1}, {0, 1, 0, 1, 3}, {s, 1, 0, 3, 4}}},
		{"up to the limit",
			[]wireCall{{s, 1, 0, 0, 2}, {s, 1, 0, 2, 4}, {s, 1, 0, 4, 5}},
			[]wireCall{{s, 1, 0, 0, 4}, {s, 1, 0, 4, 5}}},
		{"a large call in pieces",
			[]wireCall{{s, 1, 0, 0, 1}, {s, 1, 0, 1, 10}, {s, 1, 0, 10, 11}},
			[]wireCall{{s, 1, 0, 0, 1}, {s, 1, 0, 1, 5}, {s, 1, 0, 5, 9}, {s, 1, 0, 9, 11}}},
	} {
		var got []wireCall
		for calls := tc.calls; len(calls) > 0; {
			var c wireCall
			c, calls = merge(calls, 4)
			got = append(got, c)
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// rawStream returns a stream for a test to write frames to.
func rawStream(t *testing.T, p *pipes, lane Lane) *stream {
	t.Helper()
	c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
	s, err := c.connect(c.lanes[lane])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// requestFrame returns a frame that gets a key.
func requestFrame(left time.Duration, key string) []byte {
	frame := appendCall(appendRequestHeader(beginFrame(nil), 1, 0), left, 1, 1, []kv.Op{get(key)})
	endFrame(frame)
	return frame
}

// A peer that takes nothing of its replies is given up.
func TestServerGivesUpASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		node := &fakeNode{data: map[string][]byte{"k": make([]byte, 1<<20)}}
		t.Cleanup(serveOn(t, p, ServerConfig{}, node, nil))
		conn := rawStream(t, p, Reads).conn
		if _, err := conn.Write(requestFrame(time.Minute, "k")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * defaultStall)
		if n, err := io.Copy(io.Discard, conn); err != nil || n >= 1<<20 {
			t.Errorf("%d bytes of the reply still come: %v", n, err)
		}
	})
}

// Nobody waits for a call that comes after its deadline.
func TestLateCallsAreNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		t.Cleanup(serveOn(t, p, ServerConfig{}, &fakeNode{serve: func(context.Context, *Call) {
			t.Error("it is served")
		}}, nil))
		s := rawStream(t, p, Writes)
		if _, err := s.conn.Write(requestFrame(0, "k")); err != nil {
			t.Fatal(err)
		}
		body, err := readFrame(bufio.NewReader(s.conn), nil, defaultMaxFrame)
		if err == nil {
			err = decodeReply(body, &s.rep)
		}
		if err != nil || len(s.rep.results) != 1 || !errors.Is(s.rep.results[0].Err, context.DeadlineExceeded) {
			t.Errorf("the answer is %+v, %v", s.rep, err)
		}
	})
}
