package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// benchKeys is how many keys of 36 bytes, with values of 36 bytes, are read.
const benchKeys = 1024

func benchKey(i int) string { return fmt.Sprintf("%036d", i%benchKeys) }

func benchNode() *fakeNode {
	n := &fakeNode{data: map[string][]byte{}}
	for i := range benchKeys {
		n.data[benchKey(i)] = []byte(benchKey(i))
	}
	return n
}

// spread runs do b.N times from that many goroutines, and returns the time it took.
func spread(b *testing.B, goroutines int, do func(i int)) time.Duration {
	var next atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for range goroutines {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				do(int(i))
			}
		})
	}
	group.Wait()
	return time.Since(begin)
}

// BenchmarkDo reads one key a call from a peer over loopback, beside the same
// by one net/http request a call on kept connections. x_http is how many times
// as fast the first is.
func BenchmarkDo(b *testing.B) {
	node := benchNode()
	c := dialled(b, ClientConfig{}, serve(b, ServerConfig{}, node, nil))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node.mu.Lock()
		value := node.data[r.URL.Path[len("/v1/kv/"):]]
		node.mu.Unlock()
		_, _ = w.Write(value)
	}))
	defer plain.Close()
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer hc.CloseIdleConnections()
	keys := make([][]byte, benchKeys)
	for i := range keys {
		keys[i] = []byte(benchKey(i))
	}
	byFrame := func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var ops [1]kv.Op
		var results [1]kv.Result
		ops[0] = kv.Op{Verb: kv.Get, Key: keys[i%benchKeys]}
		if err := c.Do(ctx, &Call{Ops: ops[:], Results: results[:]}); err != nil || len(results[0].Entry.Value) != 36 {
			b.Error(err, results[0])
		}
	}
	byHTTP := func(i int) {
		resp, err := hc.Get(plain.URL + "/v1/kv/" + string(keys[i%benchKeys]))
		if err != nil {
			b.Error(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(body) != 36 {
			b.Error(err, len(body))
		}
	}
	for _, goroutines := range []int{1, 8, 100} {
		b.Run(fmt.Sprintf("c=%d", goroutines), func(b *testing.B) {
			b.ReportAllocs()
			framed := spread(b, goroutines, byFrame)
			b.StopTimer()
			httped := spread(b, goroutines, byHTTP)
			b.ReportMetric(float64(httped)/float64(framed), "x_http")
		})
	}
}

// BenchmarkDoBulk puts records of 36 and 36 bytes, 500 a call, four calls at a
// time, into a peer that does nothing with them.
func BenchmarkDoBulk(b *testing.B) {
	const records = 500
	c := dialled(b, ClientConfig{}, serve(b, ServerConfig{}, &fakeNode{serve: func(context.Context, *Call) {}}, nil))
	ops := make([]kv.Op, records)
	for i := range ops {
		ops[i] = kv.Op{Verb: kv.Put, Key: []byte(benchKey(i)), Value: []byte(benchKey(i)), Blind: true}
	}
	took := spread(b, 4, func(int) {
		if err := c.Do(context.Background(), &Call{Lane: Writes, Ops: ops, Results: make([]kv.Result, records)}); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(b.N)*records/took.Seconds(), "records/s")
}
