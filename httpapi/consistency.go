package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"net/url"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// How many replicas must take part is asked for by the header
// ThunderDB-Consistency, for whatever the request does, or by the parameters r
// for what it reads and w for what it writes, which win over the header.
// Whether there are as many replicas is for the node to judge.

// needs is the kv.Op.Need of what a request does.
type needs struct{ read, write int }

// of returns the need of an operation.
func (n needs) of(verb kv.Verb) int {
	if verb.IsWrite() {
		return n.write
	}
	return n.read
}

// set gives operations their need.
func (n needs) set(ops []kv.Op) {
	if n == (needs{}) {
		return
	}
	for i := range ops {
		ops[i].Need = n.of(ops[i].Verb)
	}
}

// parseNeeds returns what a request asks for.
func parseNeeds(h http.Header, query url.Values) (n needs, err error) {
	if levels, ok := h[requestConsistency]; ok {
		if n.read, err = parseLevel(levels); err != nil {
			return n, err
		}
		n.write = n.read
	}
	if len(query) == 0 {
		return n, nil
	}
	if n.read, err = parseCount(query, "r", n.read, math.MaxInt32); err == nil {
		n.write, err = parseCount(query, "w", n.write, math.MaxInt32)
	}
	return n, err
}

// parseLevel returns the need of a level, which may be given several times
// alike.
func parseLevel(levels []string) (int, error) {
	for _, level := range levels[1:] {
		if level != levels[0] {
			return 0, fmt.Errorf("ThunderDB-Consistency is given twice: %q and %q", levels[0], level)
		}
	}
	switch levels[0] {
	case "one":
		return 1, nil
	case "quorum":
		return 0, nil
	case "all":
		return kv.All, nil
	}
	return 0, fmt.Errorf("ThunderDB-Consistency %q: want one, quorum or all", levels[0])
}

// requestNeeds is parseNeeds of a request that has no other parameters.
func requestNeeds(r *http.Request) (needs, error) {
	query, err := parseQuery(r.URL)
	if err != nil {
		return needs{}, badRequest(err)
	}
	n, err := parseNeeds(r.Header, query)
	if err != nil {
		return needs{}, badRequest(err)
	}
	return n, nil
}

// bulkNeed returns the need of a bulk load's records. The node would refuse
// each of them by itself, where there are not as many replicas.
func (s *Server) bulkNeed(r *http.Request) (int, error) {
	n, err := requestNeeds(r)
	if err != nil {
		return 0, err
	}
	if current := s.backend.Cluster.Ring(); current != nil && n.write > len(current.Replicas(0)) {
		return 0, fmt.Errorf("w=%d: %w, which is %d", n.write, node.ErrBadNeed, len(current.Replicas(0)))
	}
	return n.write, nil
}
