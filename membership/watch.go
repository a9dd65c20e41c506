package membership

import "sync"

// watchers are the channels of those who wait for new views.
type watchers struct {
	mu    sync.Mutex // guards chans
	chans map[chan struct{}]struct{}
}

// add returns a new channel and what removes it again.
func (w *watchers) add() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = make(map[chan struct{}]struct{})
	}
	w.chans[ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.chans, ch)
	}
}

// signal wakes all watchers, without waiting for any.
func (w *watchers) signal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.chans {
		signal(ch)
	}
}

// signal leaves a note in ch, which has room for one, unless one is there.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
