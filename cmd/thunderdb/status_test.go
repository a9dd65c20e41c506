package main

import (
	"bytes"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// What moves, what lacks replicas and what waits is told in words.
func TestStatusInWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2033, 5, 18, 3, 33, 20, 0, time.UTC)
	var out bytes.Buffer
	err := writeStatus(&out, &client.Cluster{
		Name: "c1", RingVersion: 17, Hints: 8, UnderReplicated: 3, LastRepair: &at,
		Change:  &client.Change{To: 18, WaitingFor: []string{"n2", "n3"}, BytesToMove: 2048, BytesMoved: 1024},
		Members: []client.Member{{Name: "n1", Status: "leaving", HTTP: "h:1", Weight: 1}},
	})
	want := `cluster c1, ring version 17, not settled
changing to ring version 18: 1.0 KiB of 2.0 KiB moved, waiting for n2, n3
3 partitions lack replicas
8 entries are kept in mind for members that have missed them
last found the same as on the other replicas at 2033-05-18T03:33:20Z

NAME  STATUS   HTTP  PARTITIONS  KEYS  BYTES  WEIGHT  ZONE  VERSION
n1    leaving  h:1   0           0     0 B    1       -     -
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%swant\n%s", err, &out, want)
	}
}

func TestUpkeepMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newUpkeep(func() node.Upkeep {
		return node.Upkeep{Changing: true, UnderReplicated: 3, Hints: 8, Repaired: 21}
	}))
	want := `# HELP thunderdb_hints Entries that this node keeps in mind for members that have missed them.
# TYPE thunderdb_hints gauge
thunderdb_hints 8
# HELP thunderdb_repaired_entries_total Entries that replicas lacked and this node has mended, on itself or on others.
# TYPE thunderdb_repaired_entries_total counter
thunderdb_repaired_entries_total 21
# HELP thunderdb_ring_changing 1 while a change of the ring is under way, else 0.
# TYPE thunderdb_ring_changing gauge
thunderdb_ring_changing 1
# HELP thunderdb_under_replicated_partitions Partitions that lack a replica, as this node sees it.
# TYPE thunderdb_under_replicated_partitions gauge
thunderdb_under_replicated_partitions 3
`
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Body.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
