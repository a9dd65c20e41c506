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
		newUpkeep(n.Upkeep),
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

// upkeep is the metrics of a node's care for its replicas, told at once so that
// they fit together.
type upkeep struct {
	told                                       func() node.Upkeep
	changing, underReplicated, hints, repaired *prometheus.Desc
}

func newUpkeep(told func() node.Upkeep) *upkeep {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &upkeep{
		told:            told,
		changing:        desc("thunderdb_ring_changing", "1 while a change of the ring is under way, else 0."),
		underReplicated: desc("thunderdb_under_replicated_partitions", "Partitions that lack a replica, as this node sees it."),
		hints:           desc("thunderdb_hints", "Entries that this node keeps in mind for members that have missed them."),
		repaired:        desc("thunderdb_repaired_entries_total", "Entries that replicas lacked and this node has mended, on itself or on others."),
	}
}

// Describe implements [prometheus.Collector].
func (u *upkeep) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{u.changing, u.underReplicated, u.hints, u.repaired} {
		to <- desc
	}
}

// Collect implements [prometheus.Collector].
func (u *upkeep) Collect(to chan<- prometheus.Metric) {
	now := u.told()
	changing := 0.0
	if now.Changing {
		changing = 1
	}
	to <- prometheus.MustNewConstMetric(u.changing, prometheus.GaugeValue, changing)
	to <- prometheus.MustNewConstMetric(u.underReplicated, prometheus.GaugeValue, float64(now.UnderReplicated))
	to <- prometheus.MustNewConstMetric(u.hints, prometheus.GaugeValue, float64(now.Hints))
	to <- prometheus.MustNewConstMetric(u.repaired, prometheus.CounterValue, float64(now.Repaired))
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}
