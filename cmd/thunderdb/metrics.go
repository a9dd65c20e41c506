package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// newRegistry returns the metrics of a node and of its process. What the HTTP
// server counts is added by it.
func newRegistry(n *node.Node) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newHoldings(n.Stats),
		gauge("thunderdb_ring_version", "Ring version that this node routes by; 0 where it knows none.",
			func() float64 {
				if r := n.Ring(); r != nil {
					return float64(r.Version())
				}
				return 0
			}),
		gauge("thunderdb_ready", "1 when this node serves, else 0.",
			func() float64 {
				if n.Ready() == nil {
					return 1
				}
				return 0
			}),
	)
	return registry
}

// holdings is the metrics of what a node holds. The store is asked once for all
// of them: it may be a server that does not answer.
type holdings struct {
	stats                  func() kv.Stats
	keys, bytes, storeSize *prometheus.Desc
}

func newHoldings(stats func() kv.Stats) *holdings {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &holdings{
		stats:     stats,
		keys:      desc("thunderdb_keys", "Live keys that this node holds."),
		bytes:     desc("thunderdb_live_bytes", "Bytes of the live keys and their values that this node holds."),
		storeSize: desc("thunderdb_store_bytes", "Bytes that the store takes for everything it holds."),
	}
}

// Describe implements [prometheus.Collector].
func (h *holdings) Describe(to chan<- *prometheus.Desc) {
	to <- h.keys
	to <- h.bytes
	to <- h.storeSize
}

// Collect implements [prometheus.Collector].
func (h *holdings) Collect(to chan<- prometheus.Metric) {
	st := h.stats()
	to <- prometheus.MustNewConstMetric(h.keys, prometheus.GaugeValue, float64(st.Keys))
	to <- prometheus.MustNewConstMetric(h.bytes, prometheus.GaugeValue, float64(st.Bytes))
	to <- prometheus.MustNewConstMetric(h.storeSize, prometheus.GaugeValue, float64(st.Resident))
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}
