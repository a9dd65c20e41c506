package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// The routes of the Python project that ThunderDB grew out of. There, keys are
// strings and values JSON:
//
//   - A JSON string is stored as its text, with typeText; any other JSON value
//     as the JSON that was sent, with application/json.
//   - What is stored as application/json and is JSON is given out as it is, all
//     else as a JSON string.
//   - What is not UTF-8 cannot be given out.

// originalGet serves GET /get/{key}.
func (s *Server) originalGet(w http.ResponseWriter, r *http.Request) {
	key, err := s.pathKey(r, "/get/")
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	reply, ok := s.doOriginal(w, r, &kv.Op{Verb: kv.Get, Key: key})
	if !ok {
		return
	}
	pair, ok := appendPair([]byte("{"), key, &reply.Entry)
	if !ok {
		s.fail(w, r, failure{err: errNotText, key: key})
		return
	}
	w.Header()["Content-Type"] = valueJSON
	s.write(w, append(pair, "}\n"...))
}

// doOriginal has the cluster perform one operation, and tells how it came
// about. Where it failed, that is answered, and ok is false.
func (s *Server) doOriginal(w http.ResponseWriter, r *http.Request, op *kv.Op) (reply node.Reply, ok bool) {
	need, err := requestNeeds(r)
	if err != nil {
		s.failRequest(w, r, err)
		return reply, false
	}
	op.Need = need.of(op.Verb)
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	reply = s.backend.Keys.Do(ctx, op, nil)
	if reply.Err == nil || reply.Receipt != (kv.Receipt{}) {
		addHead(connOf(r), w, appendReply(nil, &reply, op.Verb.IsWrite(), nil))
	}
	if reply.Err != nil {
		s.fail(w, r, failureOf(op, &reply))
		return reply, false
	}
	return reply, true
}

// errNotText is answered when a key or value cannot stand in JSON.
var errNotText = &requestError{kind: client.ErrNotText, text: "the key or its value is not UTF-8; GET /v1/kv/ gives any bytes"}

// appendPair appends a member of a JSON object. It reports whether it could:
// not where the key or value is not UTF-8.
func appendPair(dst, key []byte, e *kv.Entry) ([]byte, bool) {
	if !utf8.Valid(key) || !utf8.Valid(e.Value) {
		return dst, false
	}
	dst = appendJSON(dst, key)
	dst = append(dst, ':', ' ')
	if isJSON(e.ContentType) && json.Valid(e.Value) {
		return append(dst, e.Value...), true
	}
	return appendJSON(dst, e.Value), true
}

// isJSON reports whether a media type is JSON, whatever its parameters.
func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == jsonType
}

const jsonType = "application/json"

// originalPut serves POST /put.
func (s *Server) originalPut(w http.ResponseWriter, r *http.Request) {
	var b body
	defer s.release(&b)
	ops, err := s.readPairs(r, &b)
	if err == nil && len(ops) != 1 {
		err = fmt.Errorf("the JSON object has %d pairs, want exactly one", len(ops))
	}
	if err != nil {
		s.refusePairs(w, r, err)
		return
	}
	s.doOriginal(w, r, &ops[0])
}

// originalDelete serves DELETE /delete/{key}.
func (s *Server) originalDelete(w http.ResponseWriter, r *http.Request) {
	key, err := s.pathKey(r, "/delete/")
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	s.doOriginal(w, r, &kv.Op{Verb: kv.Delete, Key: key})
}

// unstored is the problem of pairs that were not all stored.
type unstored struct {
	client.Problem
	Keys []string `json:"keys"` // that were not, or may not have been
}

// originalBatch serves POST /batch.
func (s *Server) originalBatch(w http.ResponseWriter, r *http.Request) {
	var b body
	defer s.release(&b)
	need, err := requestNeeds(r)
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	ops, err := s.readPairs(r, &b)
	if err != nil {
		s.refusePairs(w, r, err)
		return
	}
	need.set(ops)
	doc := unstored{}
	for i, reply := range s.doAll(r, ops) {
		if reply.Err == nil {
			continue
		}
		f := failureOf(&ops[i], &reply)
		f.key = nil // all of them are named below
		p := s.problem(r, f)
		if doc.Keys == nil {
			doc.Problem = p
		} else if p.Applied != "" {
			doc.Applied = p.Applied
		}
		doc.Keys = append(doc.Keys, string(ops[i].Key))
	}
	if doc.Keys != nil {
		doc.Detail = strconv.Itoa(len(doc.Keys)) + " of " + strconv.Itoa(len(ops)) + " pairs were not stored; the first: " +
			doc.Error()
		s.writeProblem(w, doc.Status, doc.Code, doc)
	}
}

// originalPing serves GET /ping.
func (s *Server) originalPing(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = valueJSON
	s.write(w, []byte(`{"service":"node","status":"OK"}`))
}

// readPairs returns the operations that store the pairs of a JSON object, read
// into b, in its order. A name that stands in it twice makes two.
func (s *Server) readPairs(r *http.Request, b *body) ([]kv.Op, error) {
	if err := s.readBody(r, b, "object", s.limits.BatchBytes); err != nil {
		return nil, err
	}
	if err := checkJSONText(b.bytes); err != nil {
		return nil, err
	}
	pairs := json.NewDecoder(bytes.NewReader(b.bytes))
	if begin, err := pairs.Token(); err != nil || begin != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	var ops []kv.Op
	for pairs.More() {
		if len(ops) == s.limits.BatchOps {
			return nil, tooMany("the object has more pairs than the limit of %d; /v1/bulk has none", s.limits.BatchOps)
		}
		op, err := s.readPair(pairs)
		if err != nil {
			return nil, &badPair{len(ops), op.Key, err}
		}
		ops = append(ops, op)
	}
	return ops, endOfJSON(pairs, json.Delim('}'))
}

// badPair is why one pair of an object cannot be stored.
type badPair struct {
	index int    // from 0
	key   []byte // nil where it could not be read
	err   error
}

func (e *badPair) Error() string { return fmt.Sprintf("pair %d: %v", e.index, e.err) }
func (e *badPair) Unwrap() error { return e.err }

// maxToldKey is how long a key may be that a problem carries, in bytes: clients
// need not read a problem of any length.
const maxToldKey = 4 << 10

// refusePairs answers a request whose body is at fault, before any of it was
// stored.
func (s *Server) refusePairs(w http.ResponseWriter, r *http.Request, err error) {
	f := failure{err: badRequest(fmt.Errorf("nothing was stored: %w", err))}
	if pair := (*badPair)(nil); errors.As(err, &pair) && len(pair.key) <= maxToldKey {
		f.key = pair.key
	}
	s.fail(w, r, f)
}

// readPair returns the operation that stores the next pair, and its key with
// an error of the rest.
func (s *Server) readPair(pairs *json.Decoder) (kv.Op, error) {
	name, err := pairs.Token()
	if err != nil {
		return kv.Op{}, fmt.Errorf("name of a pair: %w", err)
	}
	key, _ := name.(string) // a decoder takes nothing else there
	op := kv.Op{Verb: kv.Put, Key: []byte(key), ContentType: jsonType}
	if err := s.limits.checkKey(op.Key); err != nil {
		return op, err
	}
	var value json.RawMessage
	if err := pairs.Decode(&value); err != nil {
		return op, fmt.Errorf("value: %w", err)
	}
	op.Value = value
	if value[0] == '"' {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return op, fmt.Errorf("value: %w", err)
		}
		op.Value, op.ContentType = []byte(text), typeText
	}
	if len(op.Value) > s.limits.Value {
		return op, tooLarge("value", int64(len(op.Value)), s.limits.Value)
	}
	return op, nil
}
