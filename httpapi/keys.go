package httpapi

import (
	"context"
	"net/http"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/node"
)

// Keys of a page of GET /v1/keys.
const (
	pageDefault = 1000
	pageMax     = 10_000
)

// listKeys serves GET /v1/keys.
func (s *Server) listKeys(w http.ResponseWriter, r *http.Request) {
	query, err := parseQuery(r.URL)
	if err != nil {
		s.failRequest(w, r, badRequest(err))
		return
	}
	limit, err := parseCount(query, "limit", pageDefault, pageMax)
	if err != nil {
		s.failRequest(w, r, badRequest(err))
		return
	}
	page, err := s.list(r.Context(), node.ListRequest{
		Prefix: []byte(query.Get("prefix")), Cursor: query.Get("cursor"), Limit: limit,
	})
	if err != nil {
		s.failRequest(w, r, err)
		return
	}
	doc := client.KeyPage{
		Keys: make([]client.KeyInfo, len(page.Entries)), Cursor: page.Cursor, Complete: page.Complete,
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		info := client.KeyInfo{ETag: etag(e.Version), Size: e.Size, Expires: expiryTime(e.Expires)}
		info.Key, info.KeyB64 = textOrBytes(e.Key)
		doc.Keys[i] = info
	}
	s.writeJSON(w, r, doc)
}

// list returns a page of a listing, within the time of one operation.
func (s *Server) list(ctx context.Context, req node.ListRequest) (node.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeouts.Request)
	defer cancel()
	return s.backend.Lister.List(ctx, req)
}
