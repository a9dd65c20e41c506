package httpapi

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that passes its parent on and ends after a time, at
// the latest. It is context.WithTimeout for work that mostly ends before it
// looks at its context: the time counts from the first call of Deadline or
// Done, and no timer runs until Done is called.
type deadline struct {
	context.Context
	timeout time.Duration

	mu     sync.Mutex // guards all below
	at     time.Time  // zero before the first call
	timed  context.Context
	cancel context.CancelFunc // not nil when timed is not
	ended  bool
}

func newDeadline(parent context.Context, timeout time.Duration) *deadline {
	return &deadline{Context: parent, timeout: timeout}
}

// end releases what the context holds. Whoever still waits for it is let go.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}

// Deadline returns the earlier of the parent's deadline and this one.
func (d *deadline) Deadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fix(), true
}

// fix sets the moment at which the context ends. The caller holds mu.
func (d *deadline) fix() time.Time {
	if d.at.IsZero() {
		d.at = time.Now().Add(d.timeout)
		if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
			d.at = at
		}
	}
	return d.at
}

// Done returns a channel that is closed when the context ends.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.fix())
		if d.ended {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err returns why the context has ended, or nil.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch err := d.Context.Err(); {
	case d.timed != nil:
		return d.timed.Err()
	case err != nil:
		return err
	case d.ended:
		return context.Canceled
	case !d.at.IsZero() && !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value asks the context with the timer where there is one, so that the
// context package recognises it as its own and needs no goroutine for it.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	asked := d.Context
	if d.timed != nil {
		asked = d.timed
	}
	d.mu.Unlock()
	return asked.Value(key)
}
