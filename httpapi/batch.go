package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// batchReads is how many values a batch reads at a time, so that one that
// reads many large ones does not take the memory of all. What it writes is in
// memory already, and bounded by the limit of its body.
const batchReads = 128

// batch serves POST /v1/batch.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	var b body
	defer s.release(&b)
	need, err := requestNeeds(r)
	var ops []kv.Op
	if err == nil {
		ops, err = s.readBatch(r, &b)
	}
	if err != nil {
		s.failRequest(w, r, badRequest(err))
		return
	}
	need.set(ops)
	w.Header()["Content-Type"] = valueJSON
	out := bufio.NewWriterSize(w, 32<<10)
	separator := "["
	for len(ops) > 0 {
		part := ops[:batchPart(ops)]
		ops = ops[len(part):]
		for i, reply := range s.doAll(r, part) {
			_, _ = out.WriteString(separator) // Flush returns the first error
			_, _ = out.Write(s.batchResult(&part[i], &reply))
			separator = ","
		}
	}
	if separator == "[" {
		_, _ = out.WriteString(separator)
	}
	_, _ = out.WriteString("]\n")
	if err := out.Flush(); err != nil {
		s.logger.Debug("response not written", "error", err)
	}
}

// doAll has the cluster perform operations, within the request's time.
func (s *Server) doAll(r *http.Request, ops []kv.Op) []node.Reply {
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	return s.backend.Keys.DoAll(ctx, ops)
}

// batchPart returns how many of ops are done at once.
func batchPart(ops []kv.Op) int {
	reads := 0
	for i := range ops {
		if ops[i].Verb != kv.Get {
			continue
		}
		if reads++; reads == batchReads {
			return i + 1
		}
	}
	return len(ops)
}

// readBatch returns the operations of a batch, read into b, having checked
// them all.
func (s *Server) readBatch(r *http.Request, b *body) ([]kv.Op, error) {
	if err := s.readBody(r, b, "batch", s.limits.BatchBytes); err != nil {
		return nil, err
	}
	if err := checkJSONText(b.bytes); err != nil {
		return nil, err
	}
	elements := json.NewDecoder(bytes.NewReader(b.bytes))
	if begin, err := elements.Token(); err != nil || begin != json.Delim('[') {
		return nil, errors.New("want a JSON array of operations")
	}
	var ops []kv.Op
	for i := 0; elements.More(); i++ {
		if i == s.limits.BatchOps {
			return nil, tooMany("the batch has more operations than the limit of %d", s.limits.BatchOps)
		}
		var element client.BatchOp
		err := elements.Decode(&element)
		if err == nil {
			ops = append(ops, kv.Op{})
			err = s.readBatchOp(&ops[i], &element)
		}
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return ops, endOfJSON(elements, json.Delim(']'))
}

// endOfJSON returns an error unless what is left to decode is end, alone.
func endOfJSON(d *json.Decoder, end json.Delim) error {
	if token, err := d.Token(); err != nil || token != end {
		return fmt.Errorf("the JSON does not end with %s", end)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("the JSON goes on after its end")
	}
	return nil
}

// readBatchOp sets op to what an element says.
func (s *Server) readBatchOp(op *kv.Op, e *client.BatchOp) (err error) {
	for _, verb := range []kv.Verb{kv.Get, kv.Put, kv.Delete} {
		if e.Op == verb.String() {
			op.Verb = verb
		}
	}
	if op.Verb == 0 {
		return fmt.Errorf("op %q: want get, put or delete", e.Op)
	}
	if op.Key, err = either("key", e.Key, e.KeyB64); err != nil {
		return err
	}
	if err := s.limits.checkKey(op.Key); err != nil || op.Verb != kv.Put {
		return err
	}
	if op.Value, err = either("value", e.Value, e.ValueB64); err != nil {
		return err
	}
	if len(op.Value) > s.limits.Value {
		return tooLarge("value", int64(len(op.Value)), s.limits.Value)
	}
	if op.ContentType = e.ContentType; op.ContentType == "" {
		op.ContentType = typeOf(e.ValueB64)
	}
	if e.TTL != "" {
		if op.Expires, err = s.expiryOf(e.TTL); err != nil {
			return err
		}
	}
	return checkContentType(op.ContentType)
}

// either returns what stands in one of the two members for text and bytes.
func either(name string, text *string, b64 []byte) ([]byte, error) {
	switch {
	case text != nil && b64 != nil:
		return nil, fmt.Errorf("%s and %s_b64 are both given", name, name)
	case text != nil:
		return []byte(*text), nil
	case b64 != nil:
		return b64, nil
	}
	return nil, fmt.Errorf("neither %s nor %s_b64 is given", name, name)
}

// typeOf returns the media type of a value that came without one, in JSON:
// as bytes where b64 is not nil, else as text.
func typeOf(b64 []byte) string {
	if b64 != nil {
		return typeBinary
	}
	return typeText
}

// batchResult returns the element of the answer for op.
func (s *Server) batchResult(op *kv.Op, reply *node.Reply) []byte {
	result := client.BatchResult{Op: op.Verb.String()}
	result.Key, result.KeyB64 = textOrBytesPtr(op.Key)
	e := &reply.Entry
	switch {
	case reply.Err != nil:
		code, left := s.table.judge(failureOf(op, reply))
		result.Status, result.Error = code.Status, reply.Err.Error()
		if left == unclear {
			result.Error += "; it may or may not have been stored"
		}
	case op.Verb == kv.Get:
		result.Status, result.ETag = http.StatusOK, etag(e.Version)
		result.Value, result.ValueB64 = textOrBytesPtr(e.Value)
	case op.Verb == kv.Put:
		result.Status, result.ETag = http.StatusCreated, etag(e.Version)
		if reply.Existed {
			result.Status = http.StatusNoContent
		}
	default:
		result.Status = http.StatusNoContent
	}
	doc, err := marshal(result)
	if err != nil {
		s.logger.Error("batch result could not be encoded", "error", err)
	}
	return bytes.TrimSuffix(doc, []byte("\n"))
}
