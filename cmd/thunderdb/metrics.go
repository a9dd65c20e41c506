package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/thunderdb/thunderdb/node"
)

// newRegistry returns the metrics of a node and of its process. What the HTTP
// server counts is added by it.
func newRegistry(n *node.Node) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("thunderdb_keys", "Live keys that this node holds.",
			func() float64 { return float64(n.Stats().Keys) }),
		gauge("thunderdb_live_bytes", "Bytes of the live keys and their values that this node holds.",
			func() float64 { return float64(n.Stats().Bytes) }),
		gauge("thunderdb_store_bytes", "Bytes that the store takes for everything it holds.",
			func() float64 { return float64(n.Stats().Resident) }),
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

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}
