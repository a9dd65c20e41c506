package httpapi

import "net/http"

// putKey serves PUT of a key. The body is stored as it is, whatever its media
// type says.
func (s *Server) putKey(w http.ResponseWriter, r *http.Request, x *exchange) {
	b := body{bytes: x.value}
	defer s.release(&b)
	err := s.readKeyRequest(r, x)
	if err == nil {
		x.op.ContentType = r.Header.Get("Content-Type")
		err = checkContentType(x.op.ContentType)
	}
	if err == nil {
		err = s.readBody(r, &b, "value", s.limits.Value)
		x.value = b.bytes
	}
	if err != nil {
		s.refuse(w, r, x, err)
		return
	}
	x.op.Value = x.value
	reply := s.do(r, x, nil)
	if reply.Err != nil {
		s.failKey(w, r, x, &reply)
		return
	}
	x.tell(w, &reply, &reply.Entry)
	x.status = http.StatusCreated
	if reply.Existed {
		x.status = http.StatusNoContent
	}
	w.WriteHeader(x.status)
}
