package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/dustin/go-humanize"
)

// kind is one of the kinds of requests that are measured apart.
type kind int

const (
	reads kind = iota
	writes
	kinds
)

// maxLatency is the longest latency that is told apart, in microseconds:
// beyond what a client waits.
const maxLatency = 60_000_000

// measurement collects what a benchmark measures. It is safe for concurrent
// use.
type measurement struct {
	began time.Time

	mu    sync.Mutex // guards what follows
	took  time.Duration
	kinds [kinds]tally
	first error // of those that were counted as errors
}

// tally is what is known of one kind of requests.
type tally struct {
	latency        *hdrhistogram.Histogram // of what was answered, in microseconds
	errors, misses int64
}

// newMeasurement returns a measurement that begins now.
func newMeasurement() *measurement {
	m := &measurement{began: time.Now()}
	for k := range m.kinds {
		m.kinds[k].latency = hdrhistogram.New(1, maxLatency, 3)
	}
	return m
}

// record counts a request that was answered after took.
func (m *measurement) record(k kind, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answered(k, took)
}

// miss counts one that was answered by: no such key.
func (m *measurement) miss(k kind, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answered(k, took)
	m.kinds[k].misses++
}

func (m *measurement) answered(k kind, took time.Duration) {
	// The value is within bounds, so it is always recorded.
	_ = m.kinds[k].latency.RecordValue(min(max(1, took.Microseconds()), maxLatency))
}

// fail counts one that failed.
func (m *measurement) fail(k kind, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds[k].errors++
	if m.first == nil {
		m.first = err
	}
}

// stop ends the time that throughput is reckoned over.
func (m *measurement) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = time.Since(m.began)
}

// benchDoc is what bench -o json prints. Latencies are in microseconds.
type benchDoc struct {
	Seconds float64  `json:"seconds"`
	Total   benchRow `json:"total"`
	Reads   benchRow `json:"reads"`
	Writes  benchRow `json:"writes"`
	// FirstError is the first of the errors counted.
	FirstError string `json:"first_error,omitempty"`
}

// benchRow is one row of the table. Requests are those that were answered;
// Misses, the reads among them that found no value.
type benchRow struct {
	Requests   int64   `json:"requests"`
	Throughput float64 `json:"throughput"` // requests a second
	P50        int64   `json:"p50_us"`
	P99        int64   `json:"p99_us"`
	P999       int64   `json:"p999_us"`
	Max        int64   `json:"max_us"`
	Errors     int64   `json:"errors"`
	Misses     int64   `json:"misses"`
}

func (t *tally) row(took time.Duration) benchRow {
	p := t.latency.ValueAtPercentilesSlice([]float64{50, 99, 99.9})
	return benchRow{
		Requests:   t.latency.TotalCount(),
		Throughput: float64(t.latency.TotalCount()) / max(took.Seconds(), 1e-9),
		P50:        p[0],
		P99:        p[1],
		P999:       p[2],
		Max:        t.latency.Max(),
		Errors:     t.errors,
		Misses:     t.misses,
	}
}

// doc returns what has been measured so far.
func (m *measurement) doc() benchDoc {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := m.took
	if took == 0 { // still running
		took = time.Since(m.began)
	}
	all := tally{latency: hdrhistogram.New(1, maxLatency, 3)}
	for _, t := range m.kinds {
		all.latency.Merge(t.latency) // same bounds: nothing is dropped
		all.errors += t.errors
		all.misses += t.misses
	}
	d := benchDoc{
		Seconds: took.Seconds(),
		Total:   all.row(took),
		Reads:   m.kinds[reads].row(took),
		Writes:  m.kinds[writes].row(took),
	}
	if m.first != nil {
		d.FirstError = m.first.Error()
	}
	return d
}

// report prints the result. It is an error where no request was answered.
func (m *measurement) report(w io.Writer, asJSON bool) error {
	d := m.doc()
	if asJSON {
		if err := writeJSON(w, d); err != nil {
			return err
		}
	} else if err := d.print(w); err != nil {
		return err
	}
	if m.first != nil && d.Total.Requests == 0 {
		return fmt.Errorf("no request was answered: %w", m.first)
	}
	return nil
}

func (d *benchDoc) print(w io.Writer) error {
	rows := [][]string{{"", "REQUESTS", "PER SECOND", "P50", "P99", "P99.9", "MAX", "ERRORS", "MISSES"}}
	for _, r := range []struct {
		name string
		row  benchRow
	}{{"reads", d.Reads}, {"writes", d.Writes}, {"total", d.Total}} {
		rows = append(rows, []string{
			r.name, humanize.Comma(r.row.Requests), humanize.Comma(int64(r.row.Throughput)),
			latency(r.row.P50), latency(r.row.P99), latency(r.row.P999), latency(r.row.Max),
			strconv.FormatInt(r.row.Errors, 10), strconv.FormatInt(r.row.Misses, 10),
		})
	}
	_, err := fmt.Fprintf(w, "measured for %.1f s\n\n", d.Seconds)
	err = errors.Join(err, table(w, rows))
	if d.FirstError != "" {
		_, printErr := fmt.Fprintf(w, "\nfirst error: %s\n", d.FirstError)
		err = errors.Join(err, printErr)
	}
	return err
}

// latency returns us microseconds in words, to three digits.
func latency(us int64) string {
	if us < 1000 {
		return strconv.FormatInt(us, 10) + " µs"
	}
	return strconv.FormatFloat(float64(us)/1000, 'g', 3, 64) + " ms"
}
