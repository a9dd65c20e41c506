package httpapi

import (
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/thunderdb/thunderdb/client"
)

// keyPrefix begins the paths that are served without the router: most
// requests by far, and gorilla/mux costs about as much as their work.
const keyPrefix = "/v1/kv/"

// route is a path with what it does for each method. A path that ends in
// {key} or {name} stands for all that begin so.
type route struct {
	path    string
	methods map[string]http.HandlerFunc
}

// only returns the methods of a route that has one. GET brings HEAD with it.
func only(method string, h http.HandlerFunc) map[string]http.HandlerFunc {
	methods := map[string]http.HandlerFunc{method: h}
	if method == http.MethodGet {
		methods[http.MethodHead] = h
	}
	return methods
}

// onlyGet returns the methods of a GET whose answer is not computed for a HEAD.
func onlyGet(h http.HandlerFunc) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{http.MethodGet: h}
}

// routing is where requests go.
type routing struct {
	keys  map[string]*endpoint // of keyPrefix, by method
	serve *mux.Router          // of everything else
	// refuse is for requests above the limit of those in flight: all routes,
	// of which it serves those that are exempt.
	refuse *mux.Router
}

// newRouting returns the routes of the API.
func (s *Server) newRouting(registry *prometheus.Registry) routing {
	all := []route{
		{"/v1/keys", only(http.MethodGet, s.listKeys)},
		{"/v1/batch", only(http.MethodPost, s.batch)},
		{"/v1/bulk", only(http.MethodPost, s.bulk)},
		{"/v1/export", onlyGet(s.export)},
		{"/v1/explain/{key}", only(http.MethodGet, s.explain)},
		{"/v1/cluster", only(http.MethodGet, s.clusterStatus)},
		{"/v1/cluster/leave", only(http.MethodPost, s.leaveCluster)},
		{forgetPrefix + "{name}", only(http.MethodPost, s.forgetMember)},
		{"/v1/ring", only(http.MethodGet, s.ringTable)},
		{"/livez", only(http.MethodGet, s.live)},
		{"/readyz", only(http.MethodGet, s.ready)},
		{"/metrics", only(http.MethodGet, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP)},
		{"/get/{key}", only(http.MethodGet, s.originalGet)},
		{"/put", only(http.MethodPost, s.originalPut)},
		{"/delete/{key}", only(http.MethodDelete, s.originalDelete)},
		{"/batch", only(http.MethodPost, s.originalBatch)},
		{"/snapshot", onlyGet(s.originalSnapshot)},
		{"/ping", only(http.MethodGet, s.originalPing)},
	}
	to := routing{
		keys:   s.metrics.endpoints(keyPrefix + "{key}"),
		serve:  s.newRouter(func(w http.ResponseWriter, r *http.Request) { s.failRequest(w, r, client.ErrNoRoute) }),
		refuse: s.newRouter(s.tooMany),
	}
	s.add(to.refuse, keyPrefix+"{key}", s.tooMany)
	for _, rt := range all {
		handler := s.byMethod(rt.methods)
		s.add(to.serve, rt.path, handler)
		if !exempt(rt.path) {
			handler = s.tooMany
		}
		s.add(to.refuse, rt.path, handler)
	}
	return to
}

// newRouter returns a router that has no routes yet.
func (s *Server) newRouter(none http.HandlerFunc) *mux.Router {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.NotFoundHandler = s.observed("none", none)
	return router
}

// add gives router a route.
func (s *Server) add(router *mux.Router, path string, h http.HandlerFunc) {
	handler := s.observed(path, h)
	if prefix, _, isPrefix := strings.Cut(path, "{"); isPrefix {
		router.PathPrefix(prefix).Handler(handler)
	} else {
		router.Path(path).Handler(handler)
	}
}

// byMethod calls the method's handler, or answers 405 with those there are.
func (s *Server) byMethod(methods map[string]http.HandlerFunc) http.HandlerFunc {
	allow := allowed(methods)
	return func(w http.ResponseWriter, r *http.Request) {
		if h := methods[r.Method]; h != nil {
			h(w, r)
			return
		}
		w.Header()["Allow"] = allow
		s.failRequest(w, r, client.ErrMethod)
	}
}

// allowed returns the value of an Allow header.
func allowed(methods map[string]http.HandlerFunc) []string {
	var names []string
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return []string{strings.Join(names, ", ")}
}

// cutKey returns what stands after prefix in a path: the key. Path is
// percent-decoded exactly once, so that it has every byte of the key; the
// prefix has to stand in the path as it was sent.
func cutKey(u *url.URL, prefix string) (string, bool) {
	if u.RawPath != "" && !strings.HasPrefix(u.RawPath, prefix) {
		return "", false
	}
	return strings.CutPrefix(u.Path, prefix)
}

// recorder remembers whether and with what status a response was begun.
type recorder struct {
	http.ResponseWriter
	status int // 0 before
}

// WriteHeader passes the status on.
func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write passes p on.
func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(p)
}

// Unwrap is what http.ResponseController asks for.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// observed calls a handler, counts and logs the request, and answers when the
// handler panics.
func (s *Server) observed(name string, h http.HandlerFunc) http.HandlerFunc {
	endpoints := s.metrics.endpoints(name)
	return func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		start := time.Now()
		defer func() {
			if p := recover(); p != nil {
				defer s.rescue(rec, r, rec.status != 0, p)
			}
			if rec.status == 0 {
				rec.status = http.StatusOK // what net/http sends for a handler that wrote nothing
			}
			s.account(pick(endpoints, r.Method), r, rec.status, time.Since(start))
		}()
		h(rec, r)
	}
}

// account counts a request and logs it.
func (s *Server) account(e *endpoint, r *http.Request, status int, took time.Duration) {
	e.observe(status, took)
	if s.logger.IsDebug() {
		s.logger.Debug("request", "method", r.Method, "uri", r.RequestURI, "status", status,
			"took", took, "remote", r.RemoteAddr)
	}
}

// rescue ends a request whose handler panicked with p. It answers 500 or, when
// the response was begun, breaks the connection, so that half of it is not
// taken for the whole.
func (s *Server) rescue(w http.ResponseWriter, r *http.Request, begun bool, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
		panic(p)
	}
	s.logger.Error("handler panicked", "method", r.Method, "path", r.URL.EscapedPath(),
		"panic", p, "stack", string(debug.Stack()))
	if begun {
		panic(http.ErrAbortHandler)
	}
	s.failRequest(w, r, client.ErrInternal)
}
