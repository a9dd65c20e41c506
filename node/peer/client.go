package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
)

// laneCount is how many lanes there are.
const laneCount = 4

// Client is the way to one peer. It connects when it is first used and again
// after each failure. All its methods are safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	name    string
	addr    string
	storage uint64
	log     hclog.Logger
	http    *http.Client // of the control calls
	lanes   [laneCount]*lane
	calls   pool
	born    time.Time
	ahead   atomic.Bool // what Ahead returns
	full    error       // of a call that there is no room for

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	group sync.WaitGroup // what the lanes run
}

// NewClient returns the way to the node called name, whose peer listener is at
// addr and whose storage identity is storage; 0 is any. It does not connect
// yet.
func NewClient(cfg ClientConfig, name, addr string, storage uint64) *Client {
	c := &Client{cfg: cfg.withDefaults(), name: name, addr: addr, storage: storage, born: time.Now()}
	c.full = &unsent{fmt.Errorf("%s: %w", name, ErrOverloaded)}
	c.log = c.cfg.Logger.With("peer", name, "addr", addr)
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.http = &http.Client{Transport: newTransport(c.cfg.Dial, c.cfg.Handshake)}
	for i := range c.lanes {
		c.lanes[i] = &lane{c: c, id: Lane(i)}
	}
	return c
}

// Do performs a call on the peer. On nil, call.Results is filled, and what
// became of each operation stands there. Otherwise nothing is known to have
// been done, the results mean nothing, and the error is one of
//   - ErrUnavailable: the peer could not be reached, or ended in between, or
//     took nothing of the call before its deadline
//   - ErrForeign: something else than the peer was reached
//   - ErrOverloaded: there was no room in the queue until ctx ended or, on the
//     lanes of replicas, when the call came
//   - kv.ErrTooLarge: an operation is above the limit of a frame
//   - the error of ctx
//
// It is ErrNotSent besides where nothing of the call can have reached the peer.
// As soon as Do has returned, the call's buffers are the caller's again.
func (c *Client) Do(ctx context.Context, call *Call) error {
	if err := c.check(call); err != nil || len(call.Ops) == 0 {
		return err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		deadline, _ = ctx.Deadline()
	}
	if err := ctx.Err(); err != nil {
		return &unsent{fmt.Errorf("%s: %w", c.name, err)}
	}
	l, p := c.lanes[call.Lane], c.calls.get(call, deadline)
	s, err := l.enter(p)
	if err != nil {
		_ = c.calls.put(p)
		return err
	}
	if s != nil {
		s.transmit()
	}
	select {
	case <-p.done:
		return c.calls.put(p)
	case <-ctx.Done():
		return c.abandon(ctx, l, p)
	}
}

// abandon takes p out of l, for ctx has ended, and returns the call's error.
func (c *Client) abandon(ctx context.Context, l *lane, p *pending) error {
	why, left := l.leave(p)
	if !left {
		<-p.done
		return c.calls.put(p)
	}
	err := ctx.Err()
	switch {
	case why == nil:
		return fmt.Errorf("%s: %w", c.name, err)
	case errors.Is(err, context.DeadlineExceeded):
		return &unsent{fmt.Errorf("%s: %w before the deadline", c.name, why)}
	}
	return &unsent{fmt.Errorf("%s: %w", c.name, err)}
}

// Silent returns for how long something has been asked of the peer by Do and
// nothing come back, not even word that it is at work; 0 where nothing is asked.
// It is cheap: for choosing whom to ask.
func (c *Client) Silent() time.Duration {
	age, longest := c.age(time.Now()), time.Duration(0)
	for _, l := range c.lanes {
		longest = max(longest, l.silent(age))
	}
	return longest
}

// Ahead reports whether the peer's wall clock was too far ahead of this node's
// when it last answered: what it coordinates is refused then, see ErrClock.
func (c *Client) Ahead() bool { return c.ahead.Load() }

// age returns how old the client is at now, in nanoseconds; never 0.
func (c *Client) age(now time.Time) int64 { return 1 + int64(now.Sub(c.born)) }

// check returns the error of a call that cannot be sent.
func (c *Client) check(call *Call) error {
	if call.Lane >= laneCount || len(call.Results) != len(call.Ops) {
		return fmt.Errorf("%s: invalid call: lane %d, %d operations, room for %d results",
			c.name, call.Lane, len(call.Ops), len(call.Results))
	}
	limit := c.cfg.MaxFrame - frameOverhead
	if slices.ContainsFunc(call.Ops, func(op kv.Op) bool { return opSize(&op) > limit }) {
		return fmt.Errorf("%s: %w: above the %d bytes of a frame", c.name, kv.ErrTooLarge, limit)
	}
	return nil
}

// Close ends all connections, fails what waits with ErrUnavailable, and
// returns once the client's goroutines have ended. Its error is always nil.
func (c *Client) Close() error {
	c.stop()
	for _, l := range c.lanes {
		l.close()
	}
	c.group.Wait()
	c.http.CloseIdleConnections()
	return nil
}

// failure returns the error of a call that err kept from being answered. What
// err wraps is dropped: "unavailable" must not be taken for anything else.
func (c *Client) failure(err error) error {
	if errors.Is(err, ErrForeign) {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return fmt.Errorf("%s: %w: %s", c.name, ErrUnavailable, err.Error())
}
