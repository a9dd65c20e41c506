package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// liveLine is a line on a terminal that shows how a benchmark goes.
type liveLine struct {
	w io.Writer // nil where there is no terminal
}

func newLiveLine(w io.Writer) *liveLine {
	if !isTerminal(w) {
		return &liveLine{}
	}
	return &liveLine{w: w}
}

// follow draws the line once a second, until the function that it returns is
// called, which removes it.
func (l *liveLine) follow(m *measurement) (stop func()) {
	if l.w == nil {
		return func() {}
	}
	const home = "\r\x1b[K" // to the start of the line, and clear it
	done := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d := m.doc()
				_, _ = fmt.Fprintf(l.w, home+"%.0f s  %s/s  p50 %s  p99 %s  %d errors", d.Seconds,
					humanize.Comma(int64(d.Total.Throughput)), latency(d.Total.P50), latency(d.Total.P99), d.Total.Errors)
			case <-done:
				_, _ = fmt.Fprint(l.w, home)
				return
			}
		}
	})
	return func() { close(done); drawing.Wait() }
}
