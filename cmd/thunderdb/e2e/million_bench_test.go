package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

// BenchmarkMillionOnDisk loads a million records into a node on disk, ends it
// in order or by kill -9, and starts it again: how long it takes until it
// answers at all and until it answers reads, how slow those are in its first
// second, and what memory it has then.
func BenchmarkMillionOnDisk(b *testing.B) {
	path := records(b, million)
	n := newNodes(b, 1)[0]
	n.args = append(n.args, onDisk(b.TempDir())...)
	n.start()
	awaitMembers(b, []*node{n}, 1)
	began := time.Now()
	n.load(path)
	loaded := million / time.Since(began).Seconds()
	for _, how := range []string{"stop", "kill"} {
		b.Run(how, func(b *testing.B) {
			for b.Loop() {
				if how == "kill" {
					n.kill()
				} else if err := n.stop(); err != nil {
					b.Fatal(err)
				}
				s := n.startReading(b)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(loaded, "records/s-load")
				b.ReportMetric(float64(s.alive.Milliseconds()), "ms-alive")
				b.ReportMetric(float64(s.serving.Milliseconds()), "ms-serving")
				b.ReportMetric(float64(s.median.Microseconds()), "us-read")
				b.ReportMetric(float64(s.slowest.Microseconds()), "us-slowest-read")
				b.ReportMetric(float64(residentMemory(n.cmd.Process.Pid))/(1<<20), "MiB-resident")
			}
		})
	}
}

// comingUp is how a node came up.
type comingUp struct {
	alive, serving  time.Duration // until it answered anything, and a read
	median, slowest time.Duration // of the reads in the first second after that
}

// startReading starts a node and reads random records from its first moment.
func (n *node) startReading(b *testing.B) comingUp {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	n.start()
	var c comingUp
	var took []time.Duration
	for c.serving == 0 || time.Since(began) < c.serving+time.Second {
		sent := time.Now()
		r := send(http.MethodGet, n.key(key36(rnd.IntN(million))), "")
		switch {
		case r.status != 0 && c.alive == 0:
			c.alive = time.Since(began)
		case r.status == 200 && c.serving == 0:
			c.serving = time.Since(began)
		}
		switch {
		case r.status == 200:
			took = append(took, time.Since(sent))
		case c.serving != 0 || r.status != 0 && r.status != 503:
			b.Fatal(fmt.Errorf("a record that is there: %+v", r))
		case time.Since(began) > time.Minute:
			b.Fatalf("not up after a minute: %+v", r)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	slices.Sort(took)
	c.median, c.slowest = took[len(took)/2], took[len(took)-1]
	return c
}
