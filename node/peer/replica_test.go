package peer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// A coordinator has others to ask: what it asks of a replica that is behind
// fails at once, and nothing of it is sent.
func TestFullReplicaLanesRefuseAtOnce(t *testing.T) {
	t.Parallel()
	for _, lane := range []Lane{ReplicaReads, ReplicaWrites} {
		serving, release := make(chan string, 9), make(chan struct{})
		c := dialled(t, ClientConfig{QueueBytes: 2500}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
			serving <- string(call.Ops[0].Key)
			<-release
		}}, nil))
		ctx := within(t, 10*time.Second)
		done := make(chan error, 2)
		begin := func() { done <- c.Do(ctx, callOf(lane, put("in", string(make([]byte, 1000))))) }
		go begin()
		<-serving
		go begin()
		waitFor(t, func() bool { return c.waiting(lane) > 2*1000 })
		err := c.Do(context.Background(), callOf(lane, put("out", string(make([]byte, 1000)))))
		if !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrNotSent) || errors.Is(err, ErrUnavailable) {
			t.Errorf("lane %d: a call without room: %v", lane, err)
		}
		close(release)
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("lane %d: a call that there was room for: %v", lane, err)
			}
		}
		begin() // there is room again
		if err := <-done; err != nil {
			t.Errorf("lane %d: a call afterwards: %v", lane, err)
		}
		close(serving)
		for key := range serving {
			if key != "in" {
				t.Errorf("lane %d: %q is sent", lane, key)
			}
		}
	}
}

// What may have values is served in small steps, for they are held in memory.
func TestHowMuchIsServedAtOnce(t *testing.T) {
	t.Parallel()
	const ops = 3 * readsAtOnce
	for _, tc := range []struct {
		lane Lane
		verb kv.Verb
		want int
	}{
		{Reads, kv.Get, readsAtOnce},
		{ReplicaReads, kv.Get, readsAtOnce},
		{ReplicaWrites, kv.Promise, readsAtOnce},
		{ReplicaWrites, kv.Apply, ops},
		{Writes, kv.Put, ops},
	} {
		largest := 0
		c := dialled(t, ClientConfig{}, serve(t, ServerConfig{}, &fakeNode{serve: func(_ context.Context, call *Call) {
			largest = max(largest, len(call.Ops))
		}}, nil))
		call := &Call{Lane: tc.lane, Ops: make([]kv.Op, ops), Results: make([]kv.Result, ops)}
		for i := range call.Ops {
			call.Ops[i] = kv.Op{Verb: tc.verb, Key: []byte("k"), Version: kv.Version{Time: 1}}
		}
		if err := c.Do(within(t, 10*time.Second), call); err != nil {
			t.Fatal(err)
		}
		if largest != tc.want {
			t.Errorf("lane %d: %s: %d operations are served at once, want %d", tc.lane, tc.verb, largest, tc.want)
		}
	}
}

// What a replica is to keep costs nothing but the frame that it came in.
func TestAppliesAreDecodedInPlace(t *testing.T) {
	ops := make([]kv.Op, 200)
	for i := range ops {
		ops[i] = kv.Op{
			Verb: kv.Apply, Key: []byte(benchKey(i)), Value: []byte("value"), ContentType: "text/plain",
			Version: kv.Version{Time: 1 << 40, Node: uint64(i)},
		}
	}
	body := appendCall(appendRequestHeader(nil, 1, 1), time.Second, 1, 1, ops)
	var req request
	allocs := testing.AllocsPerRun(100, func() {
		if err := decodeRequest(body, &req); err != nil {
			t.Error(err)
		}
	})
	if allocs > 2 { // the content type, once
		t.Errorf("%v allocations for %d operations", allocs, len(ops))
	}
}
