package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// forgetPrefix begins the paths that name a member to forget.
const forgetPrefix = "/v1/cluster/forget/"

// leaveCluster serves POST /v1/cluster/leave. The node leaves by itself from
// then on, and its process ends: who wants to wait for that asks /v1/cluster.
func (s *Server) leaveCluster(w http.ResponseWriter, r *http.Request) {
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	if err := s.backend.Members.Leave(ctx); err != nil {
		s.failRequest(w, r, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// forceMeans is what whoever is refused for want of a majority has to know.
const forceMeans = "force=true (thunderdb forget --force) removes the member all the same, " +
	"and all others that are down: writes that only they have acknowledged are lost then, " +
	"and when one of them comes back it must be emptied before it can join"

// forgetMember serves POST /v1/cluster/forget/{name}.
func (s *Server) forgetMember(w http.ResponseWriter, r *http.Request) {
	name, force, err := forgetRequest(r)
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	ctx := newDeadline(r.Context(), s.timeouts.Request)
	defer ctx.end()
	err = s.backend.Members.Forget(ctx, name, force)
	if errors.Is(err, node.ErrTooFew) && !force {
		err = fmt.Errorf("%w; %s", err, forceMeans)
	}
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// forgetRequest returns the member that a request names, and whether it is to
// be forgotten by force.
func forgetRequest(r *http.Request) (name string, force bool, err error) {
	name, ok := cutKey(r.URL, forgetPrefix)
	if !ok {
		return "", false, client.ErrNoRoute
	}
	if name == "" {
		return "", false, invalid("no member is named")
	}
	query, err := parseQuery(r.URL)
	if err != nil {
		return "", false, badRequest(err)
	}
	if query.Has("force") {
		if force, err = strconv.ParseBool(query.Get("force")); err != nil {
			return "", false, invalid("force=%q: want true or false", query.Get("force"))
		}
	}
	return name, force, nil
}
