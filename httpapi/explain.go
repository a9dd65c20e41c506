package httpapi

import (
	"net/http"

	"github.com/thunderdb/thunderdb/client"
)

// explain serves GET /v1/explain/{key}.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	key, err := s.pathKey(r, "/v1/explain/")
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	told, err := s.backend.Cluster.Explain(ctx, key)
	if err != nil {
		s.fail(w, r, failure{err: err, key: key})
		return
	}
	doc := client.Explanation{
		Partition: told.Partition, Owner: told.Owner,
		Replicas: make([]client.Replica, len(told.Replicas)), RingVersion: told.Ring,
	}
	doc.Key, doc.KeyB64 = textOrBytes(key)
	for i, replica := range told.Replicas {
		doc.Replicas[i] = client.Replica{
			Name: replica.Name, Addr: replica.HTTP, Alive: replica.Alive, State: replica.State,
		}
		if !replica.Version.IsZero() {
			doc.Replicas[i].Version = replica.Version.String()
		}
	}
	s.writeJSON(w, r, doc)
}

// pathKey returns the key that follows prefix in a request's path, checked.
func (s *Server) pathKey(r *http.Request, prefix string) ([]byte, error) {
	text, ok := cutKey(r.URL, prefix)
	if !ok {
		return nil, client.ErrNoRoute
	}
	key := []byte(text)
	if err := s.limits.checkKey(key); err != nil {
		return nil, badRequest(err)
	}
	return key, nil
}
