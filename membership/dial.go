package membership

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxDials is how many addresses are dialed at a time.
const maxDials = 16

// dialer has memberlist exchange all it knows with other nodes, each in its own
// time: one that is silent keeps nobody from hearing the others.
type dialer struct {
	ml      *memberlist.Memberlist
	running *sync.WaitGroup
	slots   chan struct{}
	ended   chan struct{} // a dial has ended

	mu   sync.Mutex // guards busy
	busy map[string]bool
}

// newDialer returns a dialer whose goroutines are counted in running.
func newDialer(ml *memberlist.Memberlist, running *sync.WaitGroup) *dialer {
	return &dialer{
		ml:      ml,
		running: running,
		slots:   make(chan struct{}, maxDials),
		ended:   make(chan struct{}, 1),
		busy:    make(map[string]bool),
	}
}

// dial begins to dial those of the addresses that are not being dialed.
func (d *dialer) dial(addrs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, addr := range addrs {
		if d.busy[addr] {
			continue
		}
		d.busy[addr] = true
		d.running.Go(func() {
			d.slots <- struct{}{}
			// It logs why it failed, and counts this node as a success: what
			// came of it is seen by NotifyMerge.
			_, _ = d.ml.Join([]string{addr})
			<-d.slots
			d.mu.Lock()
			delete(d.busy, addr)
			d.mu.Unlock()
			signal(d.ended)
		})
	}
}

// wait returns when all dials have ended, but after limit at the latest, or
// when ctx ends.
func (d *dialer) wait(ctx context.Context, limit time.Duration) {
	late := time.After(limit)
	for !d.idle() {
		select {
		case <-d.ended:
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (d *dialer) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.busy) == 0
}
