package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

func TestResultsAreThoseOfTheOperationsInOrder(t *testing.T) {
	t.Parallel()
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{}, nil))
	for _, lane := range []Lane{Reads, Writes, ReplicaReads, ReplicaWrites} {
		k := strconv.Itoa(int(lane))
		call := callOf(lane, get(k), put(k, "one"), get(k), put(k, "two"), get(k), kv.Op{Verb: kv.Delete, Key: []byte(k)}, get(k))
		if err := c.Do(within(t, 10*time.Second), call); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range call.Results {
			got = append(got, fmt.Sprintf("%s %t %v", r.Entry.Value, r.Existed, r.Err))
		}
		want := []string{
			" false key not found", " false <nil>", "one false <nil>", " true <nil>", "two false <nil>", " true <nil>", " false key not found",
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("lane %d: result %d is %q, want %q", lane, i, got[i], want[i])
			}
		}
		if key := call.Results[2].Entry.Key; string(key) != k {
			t.Errorf("lane %d: the entry's key is %q", lane, key)
		}
	}
}

func TestManyOperationsAndLargeValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		ops, value int
		frame      int
	}{
		{"100,000 operations", 100_000, 8, 0},
		{"64 values of 1 MiB", 64, 1 << 20, 0},
		{"a frame for each operation", 500, 100, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := dialled(t, ClientConfig{FrameBytes: tc.frame}, serve(t, ServerConfig{FrameBytes: tc.frame}, &fakeNode{}, nil))
			puts, gets := &Call{Lane: Writes}, &Call{Lane: Reads}
			for i := range tc.ops {
				key := strconv.Itoa(i)
				value := bytes.Repeat([]byte(key), tc.value/len(key))
				puts.Ops = append(puts.Ops, kv.Op{Verb: kv.Put, Key: []byte(key), Value: value})
				gets.Ops = append(gets.Ops, get(key))
			}
			for _, call := range []*Call{puts, gets} {
				call.Results = make([]kv.Result, tc.ops)
				if err := c.Do(within(t, time.Minute), call); err != nil {
					t.Fatal(err)
				}
			}
			for i := range tc.ops {
				if err := puts.Results[i].Err; err != nil {
					t.Fatalf("put %d: %v", i, err)
				}
				if !bytes.Equal(gets.Results[i].Entry.Value, puts.Ops[i].Value) {
					t.Fatalf("get %d returns another value: %v", i, gets.Results[i].Err)
				}
			}
		})
	}
}

// A call that needs many frames does not hold up those that come after it.
func TestLargeCallLetsOthersThrough(t *testing.T) {
	t.Parallel()
	const large = 1000
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	c := dialled(t, ClientConfig{FrameBytes: 1}, serve(t, ServerConfig{}, &fakeNode{serve: func(ctx context.Context, call *Call) {
		begin()
		if string(call.Ops[0].Key) == "last" {
			<-ctx.Done()
		}
	}}, nil))
	call := &Call{Ops: make([]kv.Op, large), Results: make([]kv.Result, large)}
	for i := range call.Ops {
		call.Ops[i] = get("first")
	}
	call.Ops[large-1] = get("last") // served until everything ends
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	done := make(chan error, 1)
	go func() { done <- c.Do(ctx, call) }()
	<-begun
	if err := c.Do(ctx, callOf(Reads, get("small"))); err != nil {
		t.Errorf("the small call: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the large call: %v", err)
	}
}

func TestDeadlineTravels(t *testing.T) {
	t.Parallel()
	seen := make(chan time.Duration, 1)
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{serve: func(ctx context.Context, call *Call) {
		deadline, _ := ctx.Deadline()
		seen <- time.Until(deadline)
	}}, nil))
	if err := c.Do(within(t, time.Hour), callOf(Reads, get("k"))); err != nil {
		t.Fatal(err)
	}
	if left := <-seen; left > time.Hour+time.Second || left < time.Hour-time.Minute {
		t.Errorf("%v left at the peer, of an hour", left)
	}
}

func TestLaneAndRingTravel(t *testing.T) {
	t.Parallel()
	seen := make(chan Call, 1)
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
		seen <- Call{Lane: call.Lane, Ring: call.Ring, Read: call.Read}
	}}, nil))
	for _, lane := range []Lane{Reads, Writes, ReplicaReads, ReplicaWrites} {
		call := callOf(lane, get("k"))
		call.Ring, call.Read = 100+uint64(lane), 90+uint64(lane)
		if err := c.Do(within(t, 10*time.Second), call); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got.Lane != lane || got.Ring != call.Ring || got.Read != call.Read {
			t.Errorf("lane %d, rings %d and %d arrive as %d, %d and %d", lane, call.Ring, call.Read, got.Lane, got.Ring, got.Read)
		}
	}
}

// What a caller left behind is not sent any more, not even the rest of a call
// that was sent in part.
func TestRestOfAnAbandonedCallIsNotSent(t *testing.T) {
	t.Parallel()
	seen, release := make(chan string, 9), make(chan struct{})
	c := dialled(t, ClientConfig{FrameBytes: 1}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
		seen <- string(call.Ops[0].Key)
		<-release
	}}, nil))
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	done := make(chan error, 1)
	go func() { done <- c.Do(ctx, callOf(Reads, get("first"), get("rest"))) }()
	<-seen
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	for range 2 { // the first may come in before what is left of the other
		if err := c.Do(within(t, 10*time.Second), callOf(Reads, get("next"))); err != nil {
			t.Fatal(err)
		}
		if key := <-seen; key != "next" {
			t.Errorf("%q is sent", key)
		}
	}
}

// Lanes do not wait for each other.
func TestLanesAreApart(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
		if !call.Lane.ofReplicas() {
			<-release
		}
	}}, nil))
	ctx := within(t, 10*time.Second)
	var group sync.WaitGroup
	for _, lane := range []Lane{Reads, Writes} {
		group.Go(func() {
			if err := c.Do(ctx, callOf(lane, get("k"))); err != nil {
				t.Error(err)
			}
		})
	}
	for _, lane := range []Lane{ReplicaReads, ReplicaWrites} {
		if err := c.Do(ctx, callOf(lane, get("k"))); err != nil {
			t.Error(err)
		}
	}
	close(release)
	group.Wait()
}

func TestErrorsOfOperationsArrive(t *testing.T) {
	t.Parallel()
	want := []error{nil, ErrStale, fmt.Errorf("n3: %w", ErrUnavailable), kv.ErrPrecondition, kv.ErrFull, context.DeadlineExceeded}
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
		for i := range call.Results {
			call.Results[i].Err = want[i]
		}
	}}, nil))
	call := callOf(Writes)
	for range want {
		call.Ops = append(call.Ops, get("k"))
	}
	call.Results = make([]kv.Result, len(want))
	if err := c.Do(within(t, 10*time.Second), call); err != nil {
		t.Fatal(err)
	}
	for i, sentinel := range []error{nil, ErrStale, ErrUnavailable, kv.ErrPrecondition, kv.ErrFull, context.DeadlineExceeded} {
		if !errors.Is(call.Results[i].Err, sentinel) {
			t.Errorf("%v arrives as %v", want[i], call.Results[i].Err)
		}
	}
}

func TestClocksAreObservedBothWays(t *testing.T) {
	t.Parallel()
	frozen := func() time.Time { return time.UnixMilli(1000) }
	for name, contact := range contacts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := kv.NewClock(frozen), kv.NewClock(frozen)
			var atWork, stamped uint64
			work := func() {
				atWork = there.Last()
				stamped, _ = there.Next(5000) // it has no ceiling
			}
			node := &fakeNode{
				serve: func(context.Context, *Call) { work() },
				scan:  func(context.Context, ScanRequest) (ScanPage, error) { work(); return ScanPage{}, nil },
			}
			answer := func(context.Context, []byte) (any, error) { work(); return nil, nil }
			addr := serve(t, ServerConfig{Clock: there}, node, map[string]AnswerFunc{"question": jsonless(answer)})
			c, ctx := dialled(t, ClientConfig{Clock: here}, addr), within(t, 10*time.Second)
			if err := contact(ctx, c); err != nil { // with a handshake, which carries clocks too
				t.Fatal(err)
			}
			before, _ := here.Next(10_000) // it has no ceiling
			if err := contact(ctx, c); err != nil {
				t.Fatal(err)
			}
			if atWork < before {
				t.Errorf("at work the peer's clock is %d, the asking one's was %d", atWork, before)
			}
			if here.Last() < stamped {
				t.Errorf("the clock is %d after an answer stamped %d", here.Last(), stamped)
			}
		})
	}
}

func TestCallsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	c := dialled(t, ClientConfig{MaxFrame: 1000}, serve(t, ServerConfig{}, &fakeNode{}, nil))
	if err := c.Do(t.Context(), callOf(Writes, put("k", string(make([]byte, 1000))))); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("an operation above the largest frame: %v", err)
	}
	if err := c.Do(t.Context(), &Call{Ops: []kv.Op{get("k")}}); err == nil {
		t.Error("a call without room for its results is sent")
	}
	if err := c.Do(t.Context(), callOf(laneCount, get("k"))); err == nil {
		t.Error("a call on a lane that does not exist is sent")
	}
	if err := c.Do(t.Context(), callOf(Reads)); err != nil {
		t.Errorf("a call without operations: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ended, callOf(Reads, get("k"))); !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context has ended: %v", err)
	}
}

// A value that is above the limit of a frame is an error of its operation and
// no other.
func TestResultAboveTheLimit(t *testing.T) {
	t.Parallel()
	node := &fakeNode{data: map[string][]byte{"large": make([]byte, 5000), "small": []byte("s")}}
	c := dialled(t, ClientConfig{}, serve(t, ServerConfig{MaxFrame: 4096}, node, nil))
	call := callOf(Reads, get("small"), get("large"), get("small"))
	if err := c.Do(within(t, 10*time.Second), call); err != nil {
		t.Fatal(err)
	}
	if err := call.Results[1].Err; !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("the large value: %v", err)
	}
	for _, i := range []int{0, 2} {
		if r := call.Results[i]; r.Err != nil || string(r.Entry.Value) != "s" {
			t.Errorf("the small value: %q, %v", r.Entry.Value, r.Err)
		}
	}
}

func TestFlowControl(t *testing.T) {
	t.Parallel()
	op := put("k", string(make([]byte, 1000)))
	serving, release := make(chan struct{}, 9), make(chan struct{})
	c := dialled(t, ClientConfig{QueueBytes: 2500}, serve(t, ServerConfig{}, &fakeNode{serve: func(context.Context, *Call) {
		serving <- struct{}{}
		<-release
	}}, nil))
	ctx := within(t, 10*time.Second)
	var group sync.WaitGroup
	begin := func() {
		group.Go(func() {
			if err := c.Do(ctx, callOf(Writes, op)); err != nil {
				t.Errorf("a call that there was room for: %v", err)
			}
		})
	}
	begin()
	<-serving // one in flight
	begin()   // and one in the queue, in whatever order they come to it:
	waitFor(t, func() bool { return c.waiting(Writes) > 2*1000 })
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := c.Do(short, callOf(Writes, op)); !errors.Is(err, ErrOverloaded) {
		t.Errorf("a call without room: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := c.Do(gone, callOf(Writes, op)); !errors.Is(err, context.Canceled) {
		t.Errorf("a call without room that is canceled: %v", err)
	}
	begin() // waits at the door, and is let in
	close(release)
	group.Wait()
	begin() // there is room again
	large := callOf(Writes, op, op, op, op)
	group.Wait()
	if err := c.Do(ctx, large); err != nil {
		t.Errorf("a call that is larger than the queue: %v", err)
	}
	if n := c.waiting(Writes); n != 0 {
		t.Errorf("%d bytes are counted where nothing waits", n)
	}
}

// waiting returns the bytes that a lane counts.
func (c *Client) waiting(lane Lane) int {
	l := c.lanes[lane]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

func TestClose(t *testing.T) {
	t.Parallel()
	serving := make(chan struct{})
	addr := serve(t, ServerConfig{Drain: time.Millisecond}, &fakeNode{serve: func(ctx context.Context, _ *Call) {
		close(serving)
		<-ctx.Done()
	}}, map[string]AnswerFunc{"wait": jsonless(func(ctx context.Context, _ []byte) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})})
	c := dialled(t, ClientConfig{}, addr)
	ctx := within(t, time.Minute)
	failed := make(chan error, 2)
	go func() { failed <- c.Do(ctx, callOf(Reads, get("k"))) }()
	go func() { failed <- c.Ask(ctx, "wait", nil, nil) }()
	<-serving
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; !errors.Is(err, ErrUnavailable) {
			t.Errorf("what waited: %v", err)
		}
	}
	if err := c.Do(ctx, callOf(Reads, get("k"))); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Do after Close: %v", err)
	}
	if err := c.Ask(ctx, "wait", nil, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ask after Close: %v", err)
	}
}
