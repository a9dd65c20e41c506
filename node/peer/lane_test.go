package peer

import (
	"errors"
	"testing"
	"time"
)

// waitingIn returns pendings of the given sizes in bytes, in the lane's queue.
func waitingIn(l *lane, sizes ...int) []*pending {
	for _, size := range sizes {
		l.queue = append(l.queue, &pending{size: size, place: inQueue, done: make(chan struct{}, 1)})
		l.bytes += size
	}
	return append([]*pending{}, l.queue...)
}

// A call that no frame had room for comes first in the next one; one that was
// sent in part lets the others go before.
func TestNobodyStarvesInTheQueue(t *testing.T) {
	t.Parallel()
	c := NewClient(ClientConfig{Self: named("client")}, "server", "127.0.0.1:0", 0)
	defer c.Close()
	l := c.lanes[Reads]
	p := waitingIn(l, 1, 2, 3, 4)
	f := &frame{parts: []part{{p: p[0], n: 5}, {p: nil, n: 1}, {p: p[1]}, {p: p[2]}}}
	l.queue = l.queue[3:]
	l.requeue(f)
	want := []*pending{p[1], p[2], p[3], p[0]}
	for i := range want {
		if l.queue[i] != want[i] {
			t.Errorf("place %d of %d is taken by the call of %d bytes, not %d", i, len(l.queue), l.queue[i].size, want[i].size)
		}
	}
}

// A caller may leave just when the connection has ended and its call, with all
// others, is about to fail: its bytes are counted once.
func TestLeavingALaneThatHasEnded(t *testing.T) {
	t.Parallel()
	c := NewClient(ClientConfig{Self: named("client")}, "server", "127.0.0.1:0", 0)
	defer c.Close()
	l := c.lanes[Reads]
	p := waitingIn(l, 100)[0]
	l.mu.Lock()
	l.queue, l.bytes = nil, 0 // as ended does before it fails what it took
	l.mu.Unlock()
	if _, left := l.leave(p); !left || l.bytes != 0 {
		t.Errorf("left: %t, %d bytes counted", left, l.bytes)
	}
}

// Who waits at the door is let in as soon as one leaves the queue.
func TestLeavingMakesRoom(t *testing.T) {
	t.Parallel()
	c := NewClient(ClientConfig{Self: named("client"), QueueBytes: 100}, "server", "127.0.0.1:0", 0)
	defer c.Close()
	l := c.lanes[Reads]
	first := waitingIn(l, 60, 40)[0]
	late := &pending{size: 60, place: atDoor}
	l.door = append(l.door, late)
	if why, left := l.leave(first); why == nil || !left {
		t.Errorf("left: %t, %v", left, why)
	}
	if late.place != inQueue || len(l.door) > 0 || l.bytes != 100 {
		t.Errorf("place %d, %d at the door, %d bytes", late.place, len(l.door), l.bytes)
	}
}

// Whoever finds a new connection must not take it for idle while what waited
// for it is about to be sent.
func TestNewConnectionIsTaken(t *testing.T) {
	t.Parallel()
	c := NewClient(ClientConfig{Self: named("client")}, "server", "127.0.0.1:0", 0)
	defer c.Close()
	l := c.lanes[Reads]
	waitingIn(l, 100)
	l.running = true
	if err := l.attach(&stream{lane: l}); err != nil {
		t.Fatal(err)
	}
	late := c.calls.get(callOf(Reads, get("k")), time.Now().Add(time.Minute))
	if s, err := l.enter(late); s != nil || err != nil || late.place != inQueue {
		t.Errorf("a call that comes then is to send itself: %t, %v, place %d", s != nil, err, late.place)
	}
	l.stream = nil
	l.ended(nil, errors.New("over"))
}
