package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	stressWorkers = 16
	stressCalls   = 80
	stressLives   = 6
)

// stressValue is the value of a key: any other is a mixture of two calls.
func stressValue(key []byte) []byte {
	return bytes.Repeat(key, 1+int(key[len(key)-1])*int(key[len(key)-2])%1000)
}

// stressNode keeps what it is given, and notices what nobody can have sent.
type stressNode struct {
	calls atomic.Int64
	wrong atomic.Value

	mu   sync.Mutex // guards keys
	keys map[string]bool
}

func (n *stressNode) Serve(ctx context.Context, call *Call) {
	n.calls.Add(1)
	for i := range call.Ops {
		op := &call.Ops[i]
		switch op.Verb {
		case kv.Get:
			call.Results[i].Entry = kv.Entry{Key: op.Key, Value: stressValue(op.Key), Version: kv.Version{Time: 1}}
		case kv.Put:
			if !bytes.Equal(op.Value, stressValue(op.Key)) {
				n.wrong.Store(fmt.Sprintf("%q has %d bytes", op.Key, len(op.Value)))
			}
			n.mu.Lock()
			n.keys[string(op.Key)] = true
			n.mu.Unlock()
		}
	}
}

func (n *stressNode) Scan(context.Context, ScanRequest) (ScanPage, error) { return ScanPage{}, nil }

// stressCaller sends random calls one after another.
type stressCaller struct {
	c     *Client
	rand  *rand.Rand
	id    int
	acked []string // keys whose puts were reported as done
}

// call sends one call, and checks what comes of it.
func (s *stressCaller) call(ctx context.Context, t *testing.T, number int) {
	call := &Call{Lane: Lane(s.rand.IntN(laneCount)), Ring: uint64(s.rand.IntN(2))}
	var keys []string
	for i := range 1 + s.rand.IntN(40) {
		key := fmt.Sprintf("%d-%d-%d-%c%c", s.id, number, i, 'a'+rune(s.rand.IntN(26)), 'a'+rune(s.rand.IntN(26)))
		op := get(key)
		if call.Lane == Writes {
			op = put(key, string(stressValue([]byte(key))))
		}
		keys = append(keys, key)
		call.Ops = append(call.Ops, op)
	}
	call.Results = make([]kv.Result, len(call.Ops))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.rand.IntN(1000))*time.Millisecond)
	defer cancel()
	if s.rand.IntN(4) == 0 {
		time.AfterFunc(time.Duration(s.rand.IntN(2000))*time.Microsecond, cancel)
	}
	err := s.c.Do(ctx, call)
	if errors.Is(err, ErrUnavailable) {
		waitFor(t, func() bool { return s.c.admits(call.Lane) })
	}
	if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrOverloaded) && ctx.Err() == nil {
		t.Errorf("unexpected: %v", err)
	}
	for i := range call.Results {
		if r := &call.Results[i]; err == nil && !errors.Is(r.Err, context.DeadlineExceeded) {
			s.check(t, call.Lane, keys[i], r)
		}
	}
	// The buffers are the caller's again: the race detector sees who uses
	// them still, and the node what of this was sent.
	for i := range call.Ops {
		copy(call.Ops[i].Key, strings.Repeat("!", 99))
		copy(call.Ops[i].Value, strings.Repeat("!", 99))
		call.Ops[i], call.Results[i] = kv.Op{}, kv.Result{}
	}
}

// admits reports whether a call on the lane would not fail at once.
func (c *Client) admits(lane Lane) bool {
	l := c.lanes[lane]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.admits(time.Now()) == nil
}

// check judges the result of an operation that was done.
func (s *stressCaller) check(t *testing.T, lane Lane, key string, r *kv.Result) {
	switch {
	case r.Err != nil:
		t.Errorf("%q: %v", key, r.Err)
	case lane == Writes:
		s.acked = append(s.acked, key)
	case string(r.Entry.Key) != key || !bytes.Equal(r.Entry.Value, stressValue([]byte(key))):
		t.Errorf("get of %q returns %q with %d bytes", key, r.Entry.Key, len(r.Entry.Value))
	}
}

// Calls from many goroutines, many of them canceled, to a peer that is ended
// and started again in between.
func TestStress(t *testing.T) {
	t.Parallel()
	node := &stressNode{keys: map[string]bool{}}
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	c := dialled(t, ClientConfig{FrameBytes: 8 << 10, QueueBytes: 256 << 10}, addr)
	var group sync.WaitGroup
	callers := make([]*stressCaller, stressWorkers)
	for id := range callers {
		callers[id] = &stressCaller{c: c, id: id, rand: rand.New(rand.NewPCG(1, uint64(id)))}
		group.Go(func() {
			for number := range stressCalls {
				callers[id].call(t.Context(), t, number)
			}
		})
	}
	over := make(chan struct{})
	go func() { group.Wait(); close(over) }()
	for life := range stressLives {
		stop := serveOn(t, l, ServerConfig{FrameBytes: 8 << 10, Drain: time.Millisecond}, node, nil)
		until := node.calls.Load() + 100
		if life == stressLives-1 {
			<-over
		}
		waitFor(t, func() bool {
			select {
			case <-over:
				return true
			default:
				return node.calls.Load() > until
			}
		})
		stop()
		l = listen(t, addr)
	}
	l.Close()
	if wrong := node.wrong.Load(); wrong != nil {
		t.Errorf("the peer was sent what nobody put: %s", wrong)
	}
	sum := 0
	for _, s := range callers {
		sum += len(s.acked)
		for _, key := range s.acked {
			if !node.keys[key] {
				t.Errorf("%q was reported as put, and never came", key)
			}
		}
	}
	if sum == 0 {
		t.Error("no put was done")
	}
	for lane := range Lane(laneCount) { // the last frames may have been abandoned
		waitFor(t, func() bool { return c.waiting(lane) == 0 })
	}
	t.Logf("%d puts done", sum)
}
