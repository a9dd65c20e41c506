package httpapi

import (
	"errors"
	"os"
	"sync"
	"time"
)

// alarmStep is how often an alarm rings at least while it is wanted later than
// that. It is no longer than the shortest timeout that is used all the time,
// so that the next such timeout finds the alarm set early enough.
const alarmStep = 10 * time.Second

// alarm is one of the two deadlines of a conn. net/http moves them seven times
// a request, mostly further away, and each time the runtime moves a timer. An
// alarm is left to ring too early instead: whoever hears it looks whether it
// was meant, and sets it again if not.
type alarm struct {
	arm  func(time.Time) error
	made time.Time

	mu     sync.Mutex // guards what follows
	wanted time.Time  // zero is never, here and below
	armed  time.Time  // what arm was told last
}

// set makes the alarm ring at t, and not before.
func (a *alarm) set(t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = t
	switch {
	case t.IsZero() || !a.armed.After(t) && a.armed.After(a.made):
		return nil // it will ring early enough
	case t.After(a.made) && !a.armed.IsZero() && !a.armed.After(a.made):
		return a.rearm(time.Now()) // it rings, for net/http wanted to end a read
	}
	a.armed = t
	return a.arm(t)
}

// rearm makes the alarm ring no later than wanted. mu is held.
func (a *alarm) rearm(now time.Time) error {
	a.armed = a.wanted
	if a.wanted.Sub(now) > alarmStep {
		a.armed = now.Add(alarmStep)
	}
	return a.arm(a.armed)
}

// tooEarly reports whether err is a timeout that was not wanted yet. If so the
// alarm is set again, and what failed can be tried again.
func (a *alarm) tooEarly(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !a.wanted.IsZero() && !now.Before(a.wanted) {
		return false
	}
	return a.rearm(now) == nil
}
