package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

const (
	// progressInterval is half of what clients are promised.
	progressInterval = 500 * time.Millisecond
	// bulkErrors is how many errors may wait to be written.
	bulkErrors = 1024
)

// bulkAnswer is what a bulk load is answered with while it goes on.
type bulkAnswer struct {
	load      Load
	read, bad atomic.Int64 // records; those of them that were not right

	out    *bufio.Writer
	flush  func() error
	cancel context.CancelFunc // ends the load

	errors chan bulkError
	stop   chan struct{} // closed when nothing more is reported
	done   chan struct{} // closed when the goroutine has ended
	err    error         // why it ended early; read after done is closed

	metrics *metrics
	counted client.BulkLine // what the metrics have
}

// bulkError is the line of the answer for a record that was not stored.
type bulkError struct {
	Line  int64  `json:"line"`
	Error string `json:"error"`
}

func (s *Server) newBulkAnswer(w http.ResponseWriter, cancel context.CancelFunc) *bulkAnswer {
	to := s.patient(w)
	return &bulkAnswer{
		out: bufio.NewWriter(to), flush: to.controller.Flush, cancel: cancel,
		errors: make(chan bulkError, bulkErrors),
		stop:   make(chan struct{}), done: make(chan struct{}),
		metrics: s.metrics,
	}
}

// start begins to answer.
func (a *bulkAnswer) start() {
	go func() {
		defer close(a.done)
		if a.err = a.run(); a.err != nil {
			a.cancel()
		}
	}()
}

// report tells the client of a record that was not stored. It waits while too
// many such wait to be written, and does nothing once they cannot be.
func (a *bulkAnswer) report(line int64, err error) {
	select {
	case a.errors <- bulkError{line, err.Error()}:
	case <-a.done:
	}
}

// broken returns why nothing can be answered any more, or nil.
func (a *bulkAnswer) broken() error {
	select {
	case <-a.done:
		return a.err
	default:
		return nil
	}
}

// run writes errors as they come, and progress, until stop is closed or the
// client cannot be reached.
func (a *bulkAnswer) run() error {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		var err error
		select {
		case e := <-a.errors:
			err = a.write(e)
		case <-tick.C:
			if err = a.write(a.progress()); err == nil {
				err = a.send()
			}
		case <-a.stop:
			return a.rest()
		}
		if err != nil {
			return err
		}
	}
}

// rest writes the errors that wait.
func (a *bulkAnswer) rest() error {
	for {
		select {
		case e := <-a.errors:
			if err := a.write(e); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// abandon ends what end has not ended: it is for a handler that panics.
func (a *bulkAnswer) abandon() {
	select {
	case <-a.stop:
		return
	default:
	}
	a.cancel()
	_ = a.load.Close() // it was cancelled: there is nothing to say about it
	close(a.stop)
	<-a.done
}

// end writes the last line: the totals or, where err is not nil, why there are
// none and at which line the load ended. Its own error is one of writing. The
// load is closed.
func (a *bulkAnswer) end(line int64, err error) error {
	close(a.stop)
	<-a.done
	if a.err != nil {
		return a.err
	}
	totals := a.progress()
	if err == nil {
		totals.Done = true
		err = a.write(totals)
	} else {
		err = a.write(bulkError{line, "the load ended here: " + err.Error()})
	}
	if err != nil {
		return err
	}
	return a.send()
}

// progress returns what has come of the load so far.
func (a *bulkAnswer) progress() client.BulkLine {
	now := client.BulkLine{
		// In this order, so that no more is stored than was read.
		Stored: a.load.Stored(),
		Failed: a.load.Failed() + a.bad.Load(),
		Read:   a.read.Load(),
	}
	a.metrics.stored.Add(float64(now.Stored - a.counted.Stored))
	a.metrics.failed.Add(float64(now.Failed - a.counted.Failed))
	a.counted = now
	return now
}

func (a *bulkAnswer) write(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(text, '\n'))
	return err
}

// send hands on what was written.
func (a *bulkAnswer) send() error {
	if err := a.out.Flush(); err != nil {
		return err
	}
	if err := a.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
