package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// originalSnapshot serves GET /snapshot: the pairs that this node holds or,
// with ?scope=cluster, all, as one JSON object. How many were left out, since
// they are not UTF-8, is known at the end only: ThunderDB-Skipped is a trailer.
func (s *Server) originalSnapshot(w http.ResponseWriter, r *http.Request) {
	query, err := parseQuery(r.URL)
	scope := query.Get("scope")
	if err == nil && scope != "" && scope != "node" && scope != "cluster" {
		err = fmt.Errorf("scope=%q: want node or cluster", scope)
	}
	if err != nil {
		s.failRequest(w, r, badRequest(err))
		return
	}
	shot := &snapshot{separator: "{", stream: s.newStream(w, func(h http.Header) {
		h["Content-Type"] = valueJSON
		h["Trailer"] = []string{headerSkipped}
	})}
	if scope == "cluster" {
		err = s.visitAll(r.Context(), node.ListRequest{Limit: exportPage, Values: true},
			func(e *node.Listed) error { return shot.add(&e.Entry) })
	} else {
		err = s.backend.Lister.Snapshot(r.Context(), func(e *kv.Entry) bool {
			shot.err = shot.add(e)
			return shot.err == nil
		})
		if err == nil {
			err = shot.err
		}
	}
	if err == nil {
		err = shot.finish()
	}
	s.endStream(w, r, shot.stream, err)
	w.Header()[http.TrailerPrefix+headerSkipped] = []string{strconv.Itoa(shot.skipped)}
}

// snapshot is a JSON object under way.
type snapshot struct {
	stream    *stream
	separator string // before the next pair
	skipped   int
	err       error // of the last add
}

func (shot *snapshot) add(e *kv.Entry) error {
	line, ok := appendPair(append(shot.stream.line[:0], shot.separator...), e.Key, e)
	shot.stream.line = line
	if !ok {
		shot.skipped++
		return nil
	}
	shot.separator = ",\n"
	_, err := shot.stream.out.Write(line)
	return err
}

// finish ends the object.
func (shot *snapshot) finish() error {
	end := "}\n"
	if shot.separator == "{" {
		end = "{}\n"
	}
	_, err := shot.stream.out.WriteString(end)
	return err
}
