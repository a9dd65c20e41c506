package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// Whatever way the first node fails, a request ends as the table says: sent to
// another node, or not where that could do harm.
func TestWhichRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	get := func(ctx context.Context, c *client.Client) error { _, err := c.Get(ctx, "k"); return err }
	put := func(ctx context.Context, c *client.Client) error { _, err := c.Put(ctx, "k", []byte("v")); return err }
	putIf := func(ctx context.Context, c *client.Client) error {
		_, err := c.Put(ctx, "k", []byte("v"), client.IfNoneMatch("*"))
		return err
	}
	del := func(ctx context.Context, c *client.Client) error { return c.Delete(ctx, "k") }
	batch := func(ctx context.Context, c *client.Client) error {
		_, err := c.Batch(ctx, []client.BatchOp{client.PutOp("k", nil)})
		return err
	}
	fails := func(code, applied string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { refuse(w, code, applied) }
	}
	unknown, overloaded := fails("unavailable", "unknown"), fails("overloaded", "")
	const (
		once    = iota // the error is the first node's
		unclear        // and whether it was done is not known
		again          // the second node did it
	)
	tests := []struct {
		name         string
		first        http.HandlerFunc // nil: nobody listens
		do           func(context.Context, *client.Client) error
		repeatWrites bool
		want         int
	}{
		{"get, nobody listens", nil, get, false, again},
		{"get, overloaded", overloaded, get, false, again},
		{"get, unavailable", fails("unavailable", ""), get, false, again},
		{"get, connection broken", hangUp, get, false, again},
		{"get, value broken off", breakOff, get, false, again},
		{"get, not found", fails("not_found", ""), get, false, once},
		{"get, deadline passed", fails("timeout", ""), get, false, once},

		{"put, nobody listens", nil, put, false, again},
		{"put, overloaded", overloaded, put, false, again},
		{"put, unavailable and not applied", fails("unavailable", ""), put, false, again},
		{"put, unavailable and unknown", unknown, put, false, unclear},
		{"put, a proxy's 503", bare(http.StatusServiceUnavailable), put, false, unclear},
		{"put, a proxy's 502", bare(http.StatusBadGateway), put, true, unclear},
		{"put, connection broken", hangUp, put, false, unclear},
		{"put, internal error", fails("internal", "unknown"), put, true, unclear},
		{"put, store full", fails("store_full", ""), put, true, once},
		{"delete, unavailable and unknown", unknown, del, false, unclear},
		{"batch, unavailable and unknown", unknown, batch, false, unclear},

		{"put, unknown, repeated", unknown, put, true, again},
		{"put, connection broken, repeated", hangUp, put, true, again},
		{"delete, unknown, repeated", unknown, del, true, again},
		{"batch, unknown, repeated", unknown, batch, true, again},
		{"conditional put, overloaded", overloaded, putIf, true, again},
		{"conditional put, unknown", unknown, putIf, true, unclear},
		{"conditional put, connection broken", hangUp, putIf, true, unclear},
		{"conditional put, conflict", fails("conflict", ""), putIf, true, once},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			first := deadAddr(t)
			if test.first != nil {
				first = fakeNode(t, test.first)
			}
			var asked atomic.Int32
			second := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Method == http.MethodPost {
					io.WriteString(w, `[{"op":"put","key":"k","status":201}]`)
				}
			})
			err := test.do(t.Context(), newClient(t, client.Options{RepeatWrites: test.repeatWrites}, first, second))
			if got := asked.Load() == 1; got != (test.want == again) {
				t.Errorf("the second node was asked: %v, want %v", got, !got)
			}
			if (err == nil) != (test.want == again) {
				t.Errorf("error = %v", err)
			}
			if got := errors.Is(err, client.ErrUnclear); got != (test.want == unclear) {
				t.Errorf("unclear = %v, want %v: %v", got, !got, err)
			}
		})
	}
}

// breakOff sends half of a value.
func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "8")
	io.WriteString(w, "half")
	panic(http.ErrAbortHandler)
}

// bare answers with a status and nothing else, as a proxy may.
func bare(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// transport answers without a network, so that time can be a test's own.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// hang answers when the request is given up.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// journal notes which host was asked when, counted from its making.
type journal struct {
	mu    sync.Mutex // guards lines
	began time.Time
	lines []string
}

func (j *journal) note(r *http.Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, r.URL.Host+" "+time.Since(j.began).String())
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if got, want := strings.Join(j.lines, ", "), strings.Join(lines, ", "); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	j.lines = nil
}

// inBubble runs a test of a client of hosts a, b and so on, which answers
// with rt, in a time of its own.
func inBubble(t *testing.T, o client.Options, hosts string, rt transport, test func(*testing.T, *client.Client, *journal)) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{began: time.Now()}
		o.HTTP = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			j.note(r)
			return rt(r)
		})}
		c, err := o.New(strings.Split(hosts, "")...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c, j)
	})
}

func TestNodesTakeTurnsAndTheFailedOneRests(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	rt := func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "b" && down.Load() {
			return nil, errors.New("down")
		}
		return answer(r, 200), nil
	}
	inBubble(t, client.Options{}, "abc", rt, func(t *testing.T, c *client.Client, j *journal) {
		get := func() {
			if _, err := c.Get(t.Context(), "k"); err != nil {
				t.Error(err)
			}
		}
		get()
		get()
		get()
		j.want(t, "a 0s", "b 0s", "c 0s")
		down.Store(true)
		get()
		get()
		get()
		get()
		get()
		j.want(t, "a 0s", "b 0s", "c 0s", "c 0s", "a 0s", "c 0s")
		time.Sleep(time.Second) // of the bubble: b has rested
		down.Store(false)
		get()
		get()
		j.want(t, "c 1s", "a 1s")
		get()
		j.want(t, "b 1s")
	})
}

func TestRoundsComeSlowerAndSlowerAndEnd(t *testing.T) {
	t.Parallel()
	rt := func(*http.Request) (*http.Response, error) { return nil, errors.New("down") }
	inBubble(t, client.Options{Tries: 6}, "ab", rt, func(t *testing.T, c *client.Client, j *journal) {
		if _, err := c.Get(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "down") {
			t.Errorf("error = %v, want what the last try ended with", err)
		}
		j.want(t, "a 0s", "b 0s", "a 50ms", "b 100ms", "a 200ms", "b 300ms")
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	rt := func(r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusTooManyRequests, "Retry-After", "5"), nil
	}
	inBubble(t, client.Options{Tries: 2}, "a", rt, func(t *testing.T, c *client.Client, j *journal) {
		if _, err := c.Get(t.Context(), "k"); !errors.Is(err, client.ErrOverloaded) {
			t.Errorf("error = %v", err)
		}
		j.want(t, "a 0s", "a 5s")

		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrOverloaded) || ctx.Err() != nil {
			t.Errorf("error = %v, want it at once", err)
		}
		j.want(t, "a 5s")
	})
}

func TestANodeThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	rt := func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "a" {
			return hang(r)
		}
		return answer(r, 200), nil
	}
	inBubble(t, client.Options{Timeout: 3 * time.Second}, "ab", rt, func(t *testing.T, c *client.Client, j *journal) {
		if _, err := c.Get(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		j.want(t, "a 0s", "b 3s")
	})
}

func TestTheTimeOutIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, client.Options{Tries: 1}, "a", hang, func(t *testing.T, c *client.Client, j *journal) {
		_, err := c.Put(t.Context(), "k", nil)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, client.ErrUnclear) ||
			!strings.Contains(err.Error(), "http://a: no answer within 10s") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestAContextThatEndsEndsTheRequest(t *testing.T) {
	t.Parallel()
	busy := func(r *http.Request) (*http.Response, error) {
		return answer(r, http.StatusServiceUnavailable, "Content-Type", "application/problem+json", "Retry-After", "60"), nil
	}
	inBubble(t, client.Options{}, "a", busy, func(t *testing.T, c *client.Client, j *journal) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.Get(ctx, "k") // waits to be let in again
		if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("error = %v, want both why it failed and that it was cancelled", err)
		}
		j.want(t, "a 0s")

		_, err = c.Put(ctx, "k", nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnclear) {
			t.Errorf("error = %v, want a cancellation before anything was sent", err)
		}
		j.want(t)
	})
}

// What a first try left unclear stays so, however clearly the second fails.
func TestUnclearStaysUnclear(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	rt := func(r *http.Request) (*http.Response, error) {
		if tries.Add(1) == 1 {
			return nil, io.ErrUnexpectedEOF
		}
		return answer(r, http.StatusBadRequest), nil
	}
	inBubble(t, client.Options{RepeatWrites: true}, "a", rt, func(t *testing.T, c *client.Client, j *journal) {
		_, err := c.Put(t.Context(), "k", nil)
		if !errors.Is(err, client.ErrUnclear) || tries.Load() != 2 {
			t.Errorf("error = %v after %d tries", err, tries.Load())
		}
	})
}
