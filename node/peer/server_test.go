package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	type document struct {
		N    int
		Text string
	}
	addr := serve(t, ServerConfig{}, &fakeNode{}, map[string]AnswerFunc{
		"double": func(_ context.Context, in json.RawMessage) (any, error) {
			var d document
			err := json.Unmarshal(in, &d)
			return document{2 * d.N, d.Text + d.Text}, err
		},
		"odd name/%": jsonless(func(context.Context, []byte) (any, error) { return 1, nil }),
		"full":       jsonless(func(context.Context, []byte) (any, error) { return nil, fmt.Errorf("n3: %w", kv.ErrFull) }),
		"deadline": jsonless(func(ctx context.Context, _ []byte) (any, error) {
			deadline, _ := ctx.Deadline()
			return time.Until(deadline).Minutes(), nil
		}),
		"unspeakable": jsonless(func(context.Context, []byte) (any, error) { return func() {}, nil }),
	})
	c, ctx := dialled(t, ClientConfig{}, addr), within(t, time.Hour)
	var got document
	large := strings.Repeat("x", 1<<20)
	if err := c.Ask(ctx, "double", document{21, large}, &got); err != nil || got.N != 42 || got.Text != large+large {
		t.Errorf("double: %d, %d bytes, %v", got.N, len(got.Text), err)
	}
	var one int
	if err := c.Ask(ctx, "odd name/%", nil, &one); err != nil || one != 1 {
		t.Errorf("odd name: %d, %v", one, err)
	}
	if err := c.Ask(ctx, "full", nil, &got); !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), "n3") {
		t.Errorf("an error of the answer: %v", err)
	}
	var minutes float64
	if err := c.Ask(ctx, "deadline", nil, &minutes); err != nil || minutes < 59 || minutes > 61 {
		t.Errorf("%v minutes left of 60, %v", minutes, err)
	}
	for _, question := range []string{"unheard-of", "unspeakable"} {
		if err := c.Ask(ctx, question, nil, &got); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", question, err)
		}
	}
}

func TestAskEndsByItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		t.Cleanup(serveOn(t, p, ServerConfig{}, &fakeNode{}, map[string]AnswerFunc{
			"wait": jsonless(func(ctx context.Context, _ []byte) (any, error) { <-ctx.Done(); return nil, ctx.Err() }),
		}))
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		begin := time.Now()
		if err := c.Ask(within(t, time.Minute), "wait", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := c.Ask(context.Background(), "wait", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a deadline: %v", err)
		}
		if took := time.Since(begin); took > time.Minute+defaultTimeout {
			t.Errorf("both end after %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.Ask(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
			t.Errorf("canceled: %v", err)
		}
	})
}

func TestScan(t *testing.T) {
	t.Parallel()
	want := ScanRequest{Partition: 3, From: []byte{0, 0xff}, Until: 9, Prefix: []byte("p"), Values: true, Limit: 7, Bytes: 8}
	page := samplePage()
	var got ScanRequest
	var fault error
	addr := serve(t, ServerConfig{}, &fakeNode{scan: func(_ context.Context, req ScanRequest) (ScanPage, error) {
		got = req
		return page, fault
	}}, nil)
	c := dialled(t, ClientConfig{}, addr)
	answer, err := c.Scan(within(t, 10*time.Second), want)
	if err != nil || !reflect.DeepEqual(answer, page) {
		t.Errorf("page %+v, %v", answer, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("request %+v, want %+v", got, want)
	}
	fault = fmt.Errorf("scan: %w", kv.ErrFull)
	if _, err := c.Scan(within(t, 10*time.Second), want); !errors.Is(err, kv.ErrFull) {
		t.Errorf("an error of the store: %v", err)
	}
}

// What is in flight when a server is told to end is answered; what takes
// longer than the drain time is canceled, and ends with the connection.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		work time.Duration
		want error
		took time.Duration
	}{
		{"in time", defaultDrain / 2, nil, defaultDrain / 2},
		{"too late", time.Hour, ErrUnavailable, defaultDrain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				work := func(ctx context.Context) {
					select {
					case <-time.After(tc.work):
					case <-ctx.Done():
					}
				}
				stop := serveOn(t, p, ServerConfig{}, &fakeNode{
					serve: func(ctx context.Context, call *Call) { work(ctx); call.Results[0].Err = ctx.Err() },
					scan:  func(ctx context.Context, _ ScanRequest) (ScanPage, error) { work(ctx); return ScanPage{}, ctx.Err() },
				}, map[string]AnswerFunc{
					"question": jsonless(func(ctx context.Context, _ []byte) (any, error) { work(ctx); return nil, ctx.Err() }),
				})
				c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
				ctx := within(t, 24*time.Hour)
				ended := make(chan error, 1)
				for how, contact := range contacts {
					go func() {
						err := contact(ctx, c)
						if !errors.Is(err, tc.want) {
							t.Errorf("%s: %v, want %v", how, err, tc.want)
						}
						ended <- err
					}()
				}
				synctest.Wait() // all are served
				begin := time.Now()
				stop()
				if took := time.Since(begin); took < tc.took || took > tc.took+time.Second {
					t.Errorf("Serve ends after %v, want %v", took, tc.took)
				}
				for range contacts {
					<-ended
				}
				if err := c.Do(ctx, callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
					t.Errorf("a call afterwards: %v", err)
				}
			})
		})
	}
}

// A listener that fails ends Serve with its error.
func TestServeReportsAFailingListener(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	l.Close()
	if err := NewServer(ServerConfig{Self: named("server")}, &fakeNode{}).Serve(t.Context(), l); err == nil {
		t.Error("Serve returns nil on a closed listener")
	}
}
