package httpapi

import (
	"net/http"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// ringTable serves GET /v1/ring.
func (s *Server) ringTable(w http.ResponseWriter, r *http.Request) {
	current := s.backend.Cluster.Ring()
	if current == nil {
		s.failRequest(w, r, node.ErrNotReady)
		return
	}
	record := current.Record()
	doc := client.Ring{
		Version: record.Version, Cluster: record.Cluster,
		Partitions: record.Partitions, Replicas: record.Replicas,
		Members: make([]client.RingMember, len(record.Members)),
		Table:   make([][]int, record.Partitions),
	}
	for i, m := range record.Members {
		doc.Members[i] = client.RingMember{
			Name: m.Name, HTTP: s.backend.Cluster.HTTPAddr(m.Name), Weight: m.Weight, Zone: m.Zone,
		}
	}
	for p := range doc.Table {
		doc.Table[p] = current.Replicas(p)
	}
	s.writeJSON(w, r, doc)
}
