package httpapi

import (
	"net/http"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// maxKept is the largest buffer that an exchange keeps for its next use, in
// bytes.
const maxKept = 64 << 10

// exchange is what serving one request for one key needs. It is used again.
type exchange struct {
	op        kv.Op
	condition kv.Condition
	key       []byte
	value     []byte // the body of a PUT; where a GET's value may go
	conn      *conn  // that the request came by, nil where it is not ours
	status    int    // of the response; 0 before it is begun
}

var exchanges = sync.Pool{New: func() any { return &exchange{value: make([]byte, 0, 4<<10)} }}

// free makes x ready for its next use.
func (x *exchange) free() {
	if cap(x.value) > maxKept {
		x.value = nil
	}
	*x = exchange{key: x.key[:0], value: x.value[:0]}
	exchanges.Put(x)
}

// allowKey are the methods of keyPrefix.
var allowKey = []string{"DELETE, GET, HEAD, PUT"}

// serveKey serves what begins with keyPrefix.
func (s *Server) serveKey(w http.ResponseWriter, r *http.Request, c *conn, key string) {
	x := exchanges.Get().(*exchange)
	x.conn = c
	x.key = append(x.key[:0], key...)
	x.op.Key = x.key
	defer s.endKey(w, r, x, time.Now())

	switch r.Method {
	case http.MethodGet, http.MethodHead:
		x.op.Verb = kv.Get
		s.getKey(w, r, x)
	case http.MethodPut:
		x.op.Verb = kv.Put
		s.putKey(w, r, x)
	case http.MethodDelete:
		x.op.Verb = kv.Delete
		s.deleteKey(w, r, x)
	default:
		w.Header()["Allow"] = allowKey
		x.status = s.fail(w, r, failure{err: client.ErrMethod})
	}
}

// endKey does for serveKey what observed does for the other routes.
func (s *Server) endKey(w http.ResponseWriter, r *http.Request, x *exchange, start time.Time) {
	e := pick(s.routing.keys, r.Method)
	if p := recover(); p != nil {
		s.account(e, r, http.StatusInternalServerError, time.Since(start))
		s.rescue(w, r, x.status != 0, p)
		return
	}
	s.account(e, r, x.status, time.Since(start))
	x.free()
}

// readKeyRequest checks what requests of all methods have in common. Its
// error is the request's.
func (s *Server) readKeyRequest(r *http.Request, x *exchange) error {
	if err := s.limits.checkKey(x.key); err != nil {
		return err
	}
	query, err := parseQuery(r.URL)
	if err != nil {
		return err
	}
	need, err := parseNeeds(r.Header, query)
	if err != nil {
		return err
	}
	x.op.Need = need.of(x.op.Verb)
	conditional, err := parseCondition(r.Header, &x.condition)
	if err != nil {
		return err
	}
	if conditional {
		x.op.If = &x.condition
	}
	if x.op.Verb == kv.Put {
		x.op.Expires, err = s.requestExpiry(r.Header, query)
	}
	return err
}

// do has the cluster perform x's operation.
func (s *Server) do(r *http.Request, x *exchange, dst []byte) node.Reply {
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	return s.backend.Keys.Do(ctx, &x.op, dst)
}

// tell sets the headers that come from a reply, and from the entry that it is
// about where e is not nil.
func (x *exchange) tell(w http.ResponseWriter, reply *node.Reply, e *kv.Entry) {
	write := x.op.Verb.IsWrite()
	if x.conn == nil {
		addHead(nil, w, appendReply(nil, reply, write, e))
		return
	}
	x.conn.head = appendReply(x.conn.head, reply, write, e)
}

// judged reports whether an error says that a key or a condition was judged,
// rather than that something went wrong.
func (s *Server) judged(err error) bool {
	code, _ := s.table.classify(err)
	return code.Status == http.StatusNotFound || code.Status == http.StatusPreconditionFailed
}

// refuse answers a request whose fault err is.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	x.status = s.fail(w, r, failure{err: badRequest(err), key: x.key})
}

// failKey answers an operation that ended with an error.
func (s *Server) failKey(w http.ResponseWriter, r *http.Request, x *exchange, reply *node.Reply) {
	switch {
	case !s.judged(reply.Err):
		if reply.Owner != "" {
			w.Header()[headerOwner] = []string{reply.Owner}
		}
		if reply.Receipt != (kv.Receipt{}) { // how far it came is worth knowing
			line := appendReceipt(nil, &reply.Receipt, x.op.Verb.IsWrite())
			w.Header()[headerReceipt] = []string{string(line)}
		}
	case reply.Entry.Deleted:
		w.Header()[headerDeleted] = []string{"true"}
		x.tell(w, reply, nil)
	case reply.Entry.Version.IsZero():
		x.tell(w, reply, nil)
	default:
		x.tell(w, reply, &reply.Entry)
	}
	x.status = s.fail(w, r, failureOf(&x.op, reply))
}
