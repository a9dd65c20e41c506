package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/thunderdb/thunderdb/client"
	"github.com/thunderdb/thunderdb/internal/fresh"
)

// Server answers clients. It is an http.Handler, and answers from the moment
// it is made: while the node is not ready, with 503.
type Server struct {
	limits   Limits
	timeouts Timeouts
	now      func() time.Time
	backend  Backend

	name     string
	head     []byte // the header lines of every response
	logger   hclog.Logger
	table    table
	metrics  *metrics
	routing  routing
	inFlight atomic.Int64
	fresh    fresh.Conns
	// bodyBytes is the memory that bodies take now, but for buffers that are
	// used again and again.
	bodyBytes atomic.Int64
}

// New returns a server of b. It registers its metrics with registry, and
// answers /metrics with all that is registered there. It starts nothing.
func New(cfg Config, b Backend, logger hclog.Logger, registry *prometheus.Registry) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("http api: %w", err)
	}
	if b.Keys == nil || b.Lister == nil || b.Cluster == nil || b.Members == nil || b.Load == nil {
		return nil, errors.New("http api: the backend is incomplete")
	}
	s := &Server{
		limits: cfg.Limits, timeouts: cfg.Timeouts, now: cfg.Now,
		backend: b, name: b.Cluster.Name(), logger: logger, table: newTable(),
	}
	s.head = appendLine(s.head, "Cache-Control", "no-cache")
	s.head = appendLine(s.head, headerNosniff, "nosniff")
	s.head = appendLine(s.head, headerNode, s.name)
	if s.metrics, err = newMetrics(registry, cfg.Software, s.inFlight.Load); err != nil {
		return nil, fmt.Errorf("http api: %w", err)
	}
	s.routing = s.newRouting(registry)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	addHead(c, w, s.head)
	inFlight := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	if inFlight > int64(s.limits.InFlight) {
		s.routing.refuse.ServeHTTP(w, r)
		return
	}
	if key, ok := cutKey(r.URL, keyPrefix); ok {
		s.serveKey(w, r, c, key)
		return
	}
	s.routing.serve.ServeHTTP(w, r)
}

// errTooMany is answered when the limit of requests in flight is reached.
var errTooMany = &requestError{kind: client.ErrOverloaded, text: "too many requests in flight"}

// tooMany serves what comes above the limit of requests in flight.
func (s *Server) tooMany(w http.ResponseWriter, r *http.Request) { s.failRequest(w, r, errTooMany) }

// exempt reports whether a route is served however much is in flight: who
// watches over the node has to hear from it all the same.
func exempt(path string) bool {
	return path == "/livez" || path == "/readyz" || path == "/metrics"
}

// Serve answers the connections of l until ctx ends. Then it closes l, lets
// requests in flight finish for the drain timeout at most, and cuts off those
// that have not by then, which is an error. It returns when all handlers have.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx: they are drained. stop is for those that are cut off.
	requests, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var connections sync.WaitGroup // their goroutines, which run the handlers
	server := s.httpServer(requests, &connections)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener{l}) }()
	select {
	case err := <-served:
		stop()
		_ = server.Close()
		connections.Wait()
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	err := s.drain(ctx, server)
	if shut := <-served; !errors.Is(shut, http.ErrServerClosed) {
		err = errors.Join(err, shut)
	}
	stop()
	connections.Wait()
	return err
}

// httpServer returns a server whose requests end with ctx, and whose
// connections are counted.
func (s *Server) httpServer(ctx context.Context, connections *sync.WaitGroup) *http.Server {
	return &http.Server{
		Handler:        s,
		ReadTimeout:    s.timeouts.Read,
		WriteTimeout:   s.timeouts.Write,
		IdleTimeout:    s.timeouts.Idle,
		MaxHeaderBytes: s.limits.Header,
		ErrorLog:       s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    withConn,
		ConnState: func(conn net.Conn, state http.ConnState) {
			s.fresh.Follow(conn, state)
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
		// Every path is ours, "OPTIONS *" too.
		DisableGeneralOptionsHandler: true,
	}
}

// drain stops a server in an orderly way.
func (s *Server) drain(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeouts.Drain)
	defer cancel()
	s.fresh.Close()
	err := server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	left := s.inFlight.Load()
	return fmt.Errorf("drain http: %d requests cut off: %w", left, errors.Join(err, server.Close()))
}
