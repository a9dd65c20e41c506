package httpapi

import (
	"net/http"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// clusterStatus serves GET /v1/cluster.
func (s *Server) clusterStatus(w http.ResponseWriter, r *http.Request) {
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	status, err := s.backend.Cluster.Status(ctx)
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	doc := client.Cluster{
		Name: status.Cluster, RingVersion: status.Ring,
		Settled: status.Settled, Hints: status.Hints, UnderReplicated: status.UnderReplicated,
		Members: make([]client.Member, len(status.Members)),
	}
	if c := status.Change; c != nil {
		doc.Change = &client.Change{
			To: c.To, WaitingFor: append([]string{}, c.WaitingFor...),
			BytesToMove: c.BytesToMove, BytesMoved: c.BytesMoved,
		}
	}
	if at := status.LastRepair; !at.IsZero() {
		at = at.UTC().Truncate(time.Second)
		doc.LastRepair = &at
	}
	for i := range status.Members {
		doc.Members[i] = memberDocument(&status.Members[i])
	}
	s.writeJSON(w, r, doc)
}

func memberDocument(m *node.MemberState) client.Member {
	return client.Member{
		Name: m.Name, HTTP: m.HTTP, Peer: m.Peer, Gossip: m.Gossip,
		Status: m.Status, Weight: m.Weight, Zone: m.Zone,
		Partitions: m.Partitions, Keys: m.Keys, Bytes: m.Bytes, Version: m.Software,
	}
}
