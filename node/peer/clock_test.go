package peer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// clockAt returns a clock whose wall clock stands at that Unix millisecond,
// and that has given as many readings.
func clockAt(ms int64, readings int) *kv.Clock {
	c := kv.NewClock(func() time.Time { return time.UnixMilli(ms) })
	_, _ = c.Next(readings) // it has no ceiling
	return c
}

// wallOf returns the Unix millisecond of a reading.
func wallOf(reading uint64) int64 { return kv.Version{Time: reading}.Wall().UnixMilli() }

// A coordinator whose clock is too far ahead is refused by the replicas that it
// asks, and nobody takes over its clock.
func TestClocksTooFarAhead(t *testing.T) {
	t.Parallel()
	const now = 1_000_000
	limit := kv.MaxAhead.Milliseconds()
	for _, tc := range []struct {
		ahead int64
		bad   bool
	}{{0, false}, {limit, false}, {limit + 1, true}, {1 << 40, true}, {-now / 2, false}} {
		for _, lane := range []Lane{Reads, Writes, ReplicaReads, ReplicaWrites} {
			served := 0
			there, here := clockAt(now, 1), clockAt(now+tc.ahead, 5000)
			addr := serve(t, ServerConfig{Clock: there}, &fakeNode{serve: func(_ context.Context, call *Call) { served += len(call.Ops) }}, nil)
			call := callOf(lane, get("k"), get("l"))
			if err := dialled(t, ClientConfig{Clock: here}, addr).Do(within(t, 10*time.Second), call); err != nil {
				t.Fatal(err)
			}
			refused := tc.bad && lane.ofReplicas()
			if want := len(call.Ops); refused == (served == want) || refused != (served == 0) {
				t.Errorf("lane %d, %d ms ahead: %d operations are served", lane, tc.ahead, served)
			}
			for _, r := range call.Results {
				if errors.Is(r.Err, ErrClock) != refused {
					t.Errorf("lane %d, %d ms ahead: %v", lane, tc.ahead, r.Err)
				}
				if refused && (!strings.Contains(r.Err.Error(), "client") || !strings.Contains(r.Err.Error(), "server")) {
					t.Errorf("it does not name both nodes: %v", r.Err)
				}
			}
			if behind := there.Last() < here.Last(); behind != tc.bad && tc.ahead >= 0 {
				t.Errorf("lane %d, %d ms ahead: the peer's clock is at %d", lane, tc.ahead, wallOf(there.Last()))
			}
		}
	}
}

// A node goes on asking, and answering, one whose clock is too far ahead, but
// does not take over that clock.
func TestWrongClocksAreNotTakenOver(t *testing.T) {
	t.Parallel()
	const now = 1_000_000
	node := &fakeNode{
		serve: func(context.Context, *Call) {},
		scan:  func(context.Context, ScanRequest) (ScanPage, error) { return ScanPage{}, nil },
	}
	answers := map[string]AnswerFunc{"question": jsonless(func(context.Context, []byte) (any, error) { return nil, nil })}
	for how, contact := range contacts {
		for _, ahead := range []int64{0, kv.MaxAhead.Milliseconds() + 1} {
			here, there := clockAt(now, 1), clockAt(now+ahead, 5000)
			c := dialled(t, ClientConfig{Clock: here}, serve(t, ServerConfig{Clock: there}, node, answers))
			if err := contact(within(t, 10*time.Second), c); err != nil {
				t.Errorf("%s of a peer that is ahead: %v", how, err)
			}
			if behind := here.Last() < there.Last(); behind != (ahead > 0) {
				t.Errorf("%s of a peer that is %d ms ahead leaves the clock at %d", how, ahead, wallOf(here.Last()))
			}
			here, there = clockAt(now+ahead, 5000), clockAt(now, 1)
			c = dialled(t, ClientConfig{Clock: here}, serve(t, ServerConfig{Clock: there}, node, answers))
			if err := contact(within(t, 10*time.Second), c); err != nil {
				t.Errorf("%s by a node that is ahead: %v", how, err)
			}
			if behind := there.Last() < here.Last(); behind != (ahead > 0) {
				t.Errorf("%s by a node that is %d ms ahead leaves the peer's clock at %d", how, ahead, wallOf(there.Last()))
			}
		}
	}
}
