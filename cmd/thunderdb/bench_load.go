package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// benchKey returns the key of number i.
func benchKey(i int) string { return fmt.Sprintf("bench:%012d", i) }

// values gives values of one size that differ, without making each anew.
type values struct {
	size  int
	bytes []byte // any size of them in a row is a value
}

// spread is how many different values there are.
const spread = 4096

func newValues(size int) values {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	v := values{size: size, bytes: make([]byte, size+spread)}
	r := rand.New(rand.NewSource(1))
	for i := range v.bytes {
		v.bytes[i] = alphabet[r.Intn(len(alphabet))]
	}
	return v
}

// at returns a value; whoever gets it only reads it.
func (v values) at(i int) []byte {
	i %= spread
	return v.bytes[i : i+v.size : i+v.size]
}

// benchRecords reads as the records of a workload, in the text format.
type benchRecords struct {
	keys   int
	values values
	next   int // the key after those in buf
	buf    bytes.Buffer
}

// Read implements io.Reader.
func (r *benchRecords) Read(p []byte) (int, error) {
	for r.buf.Len() < len(p) && r.next < r.keys {
		// Writing to a bytes.Buffer cannot fail.
		r.buf.WriteString(benchKey(r.next))
		r.buf.WriteByte(' ')
		r.buf.Write(r.values.at(r.next))
		r.buf.WriteByte('\n')
		r.next++
	}
	if r.buf.Len() == 0 {
		return 0, io.EOF
	}
	return r.buf.Read(p)
}

// run puts the load on c until the duration is over or ctx ends, and records
// it in m. Requests that ctx cut off are not recorded.
func (w *workload) run(ctx context.Context, c *client.Client, m *measurement, live *liveLine) {
	end := m.began.Add(w.duration)
	stop := live.follow(m)
	shared := newValues(w.valueSize)
	var workers sync.WaitGroup
	for range w.concurrency {
		workers.Go(func() { w.work(ctx, c, shared, end, m) })
	}
	workers.Wait()
	m.stop()
	stop()
}

// work sends one request after the other.
func (w *workload) work(ctx context.Context, c *client.Client, shared values, end time.Time, m *measurement) {
	r := rand.New(rand.NewSource(rand.Int63()))
	pick := w.picker(r)
	for ctx.Err() == nil && time.Now().Before(end) {
		key := benchKey(pick())
		kind := writes
		if r.Float64() < w.readRatio {
			kind = reads
		}
		began := time.Now()
		var err error
		if kind == reads {
			_, err = c.Get(ctx, key)
		} else {
			_, err = c.Put(ctx, key, shared.at(r.Int()))
		}
		took := time.Since(began)
		switch {
		case err == nil:
			m.record(kind, took)
		case errors.Is(err, client.ErrNotFound):
			m.miss(kind, took)
		case ctx.Err() == nil:
			m.fail(kind, err)
		}
	}
}

// picker returns a function that gives key numbers by the distribution asked
// for. With a Zipf one, low numbers are the frequent ones; the hash of their
// keys spreads them over the cluster.
func (w *workload) picker(r *rand.Rand) func() int {
	if w.zipf == 0 {
		return func() int { return r.Intn(w.keys) }
	}
	z := rand.NewZipf(r, w.zipf, 1, uint64(w.keys-1))
	return func() int { return int(z.Uint64()) }
}
