package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeasurementCountsWhatHappened(t *testing.T) {
	t.Parallel()
	m := newMeasurement()
	for ms := range 1000 {
		m.record(reads, time.Duration(ms+1)*time.Millisecond)
	}
	m.miss(reads, time.Hour) // longer than is told apart
	m.record(writes, 0)
	m.fail(writes, errors.New("first"))
	m.fail(writes, errors.New("second"))
	m.took = 2 * time.Second
	d := m.doc()
	near := func(name string, got, want int64) {
		if diff := got - want; max(diff, -diff) > want/500 { // the histogram's three digits
			t.Errorf("%s = %d µs, want %d", name, got, want)
		}
	}
	near("p50", d.Reads.P50, 501_000)
	near("p99", d.Reads.P99, 991_000)
	near("p99.9", d.Reads.P999, 1_000_000)
	near("max", d.Reads.Max, maxLatency)
	if d.Reads.Requests != 1001 || d.Reads.Misses != 1 || d.Writes.Errors != 2 || d.Total.Requests != 1002 ||
		d.Total.Throughput != 501 || d.FirstError != "first" {
		t.Errorf("document = %+v", d)
	}
}

func TestABenchmarkThatNobodyAnswersFails(t *testing.T) {
	t.Parallel()
	m := newMeasurement()
	m.fail(reads, errors.New("refused"))
	if err := m.report(io.Discard, true); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error = %v", err)
	}
}

// The live line shows what was measured so far, and leaves nothing behind.
func TestLiveLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		m := newMeasurement()
		stop := (&liveLine{&screen}).follow(m)
		for range 300 {
			m.record(reads, 2*time.Millisecond)
		}
		time.Sleep(1500 * time.Millisecond) // of the bubble
		stop()
		if got, want := screen.String(), "\r\x1b[K1 s  300/s  p50 2 ms  p99 2 ms  0 errors\r\x1b[K"; got != want {
			t.Errorf("drew %q, want %q", got, want)
		}
	})
}

// However it is read, a workload has each of its keys once, with a value of the
// size asked for.
func TestBenchRecords(t *testing.T) {
	t.Parallel()
	text, err := io.ReadAll(&benchRecords{keys: 9000, values: newValues(20)})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 9000 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		if key != benchKey(i) || len(value) != 20 {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

func TestPickersStayWithinTheKeys(t *testing.T) {
	t.Parallel()
	for _, zipf := range []float64{0, 1.1} {
		w := workload{keys: 100, zipf: zipf}
		pick := w.picker(rand.New(rand.NewSource(1)))
		counts := make([]int, w.keys) // out of range panics
		for range 100_000 {
			counts[pick()]++
		}
		if often := counts[0] > 5*counts[50]; often != (zipf > 0) {
			t.Errorf("zipf %g: key 0 came %d times, key 50 %d times", zipf, counts[0], counts[50])
		}
	}
}

// Interrupted, a benchmark ends soon and reports what it has.
func TestAnInterruptedBenchmarkReports(t *testing.T) {
	t.Parallel()
	c, err := startCluster(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	db := connect(t, c.addrs[0])
	m := newMeasurement()
	w := workload{keys: 10, readRatio: 1, duration: time.Hour, concurrency: 2}
	go func() {
		defer cancel()
		// An error is the test's end.
		_ = poll(t.Context(), func() (bool, error) { return m.doc().Reads.Misses > 10, nil })
	}()
	w.run(ctx, db, m, &liveLine{})
	if d := m.doc(); d.Total.Errors != 0 || d.Seconds > 60 {
		t.Errorf("document = %+v, want no errors", d)
	}
}
