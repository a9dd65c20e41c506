package httpapi

import (
	"net/http"
	"strconv"

	"github.com/thunderdb/thunderdb/kv"
)

// maxSniffed is the size in bytes up to which net/http counts a body itself.
const maxSniffed = 2048

// getKey serves GET and HEAD of a key.
func (s *Server) getKey(w http.ResponseWriter, r *http.Request, x *exchange) {
	if err := s.readKeyRequest(r, x); err != nil {
		s.refuse(w, r, x, err)
		return
	}
	x.op.If = nil // judged here: the whole entry comes anyway
	reply := s.do(r, x, x.value)
	if reply.Err != nil {
		s.failKey(w, r, x, &reply)
		return
	}
	x.tell(w, &reply, &reply.Entry)
	switch x.status = judgeRead(&x.condition, &reply.Entry); x.status {
	case http.StatusPreconditionFailed:
		s.fail(w, r, failure{err: kv.ErrPrecondition, key: x.key})
	case http.StatusNotModified:
		w.WriteHeader(x.status)
	default:
		s.writeValue(w, r, &reply.Entry)
		x.adopt(reply.Entry.Value)
	}
}

// writeValue writes an entry's value and what stands with it in the header.
func (s *Server) writeValue(w http.ResponseWriter, r *http.Request, e *kv.Entry) {
	h := w.Header()
	if e.ContentType == "" {
		h["Content-Type"] = valueBinary
	} else {
		h["Content-Type"] = []string{e.ContentType}
	}
	head := r.Method == http.MethodHead
	if head || len(e.Value) > maxSniffed {
		h["Content-Length"] = []string{strconv.Itoa(len(e.Value))}
	}
	w.WriteHeader(http.StatusOK)
	if !head {
		s.write(w, e.Value)
	}
}

// adopt makes x's buffer large enough for a value like the one just read, so
// that the next one fits. The value's own memory need not be ours.
func (x *exchange) adopt(value []byte) {
	if len(value) > cap(x.value) && len(value) <= maxKept {
		x.value = make([]byte, 0, min(maxKept, 2*len(value)))
	}
}
