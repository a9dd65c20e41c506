package httpapi

import "net/http"

// live serves GET /livez: that it is answered says it all.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	s.writeOK(w)
}

// ready serves GET /readyz: 200, or 503 with what the node waits for.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.backend.Cluster.Ready(); err != nil {
		s.failRequest(w, r, err)
		return
	}
	s.writeOK(w)
}

func (s *Server) writeOK(w http.ResponseWriter) {
	w.Header()["Content-Type"] = valueText
	s.write(w, []byte("ok\n"))
}
