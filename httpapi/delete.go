package httpapi

import "net/http"

// deleteKey serves DELETE of a key, which is no error where the key is absent.
func (s *Server) deleteKey(w http.ResponseWriter, r *http.Request, x *exchange) {
	if err := s.readKeyRequest(r, x); err != nil {
		s.refuse(w, r, x, err)
		return
	}
	reply := s.do(r, x, nil)
	if reply.Err != nil {
		s.failKey(w, r, x, &reply)
		return
	}
	x.tell(w, &reply, nil)
	x.status = http.StatusNoContent
	w.WriteHeader(x.status)
}
