package peer

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/internal/fresh"
)

// Limits of the HTTP that everything begins with.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * idleConn
	maxHeaderBytes    = 16 << 10
)

// AnswerFunc answers a control call. in is what the asking node sent; what is
// returned goes back as JSON, and an error arrives so that errors.Is holds as
// far as the table of errors goes. It is called from several goroutines.
type AnswerFunc = func(ctx context.Context, in json.RawMessage) (any, error)

// Server is a node's end for its peers.
type Server struct {
	cfg     ServerConfig
	handler Handler
	answers map[string]AnswerFunc

	group sync.WaitGroup // requests and sessions under way
	fresh fresh.Conns

	mu       sync.Mutex // guards all below
	draining bool
	sessions map[*session]struct{}
}

// NewServer returns a server that lets h do the work. It listens nowhere yet.
func NewServer(cfg ServerConfig, h Handler) *Server {
	return &Server{
		cfg: cfg.withDefaults(), handler: h,
		answers:  map[string]AnswerFunc{},
		sessions: map[*session]struct{}{},
	}
}

// Answer registers what answers a question of [Client.Ask]. It must not be
// called once Serve was.
func (s *Server) Answer(question string, fn AnswerFunc) { s.answers[question] = fn }

// Serve serves the connections of l until ctx ends, and closes l. Then what is
// in flight may go on for cfg.Drain; whatever is left is canceled. It returns
// once every connection is closed and every goroutine has ended, with an error
// where l failed before. It may be called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	hs := s.httpServer(work)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
		s.drain(work, stop, hs)
		err = <-served
	case err = <-served:
		s.drain(work, stop, hs)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) httpServer(work context.Context) *http.Server {
	log := s.cfg.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn})
	return &http.Server{
		Handler:           s.routes(),
		BaseContext:       func(net.Listener) context.Context { return work },
		ErrorLog:          log,
		ConnState:         s.fresh.Follow,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// drain takes no further requests, and waits for those under way. work is
// their context, which stop ends.
func (s *Server) drain(work context.Context, stop context.CancelFunc, hs *http.Server) {
	s.refuse()
	s.fresh.Close()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = hs.Shutdown(work) // fails only where it is cut short
		s.group.Wait()
	}()
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		stop()
		s.abort()
		_ = hs.Close() // errors of closing connections that are given up
		<-drained
	}
}

// refuse lets each session finish what it serves, and read no more.
func (s *Server) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for t := range s.sessions {
		_ = t.conn.SetReadDeadline(time.Unix(1, 0)) // fails only where it is closed
	}
}

// abort closes the connections of all sessions.
func (s *Server) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.sessions {
		_ = t.conn.Close() // given up
	}
}

// begin counts a request as under way, unless the server is ending.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.group.Add(1)
	}
	return !s.draining
}

// enroll makes t known to drain. It returns false where the server is ending.
func (s *Server) enroll(t *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.sessions[t] = struct{}{}
	}
	return !s.draining
}

func (s *Server) dismiss(t *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, t)
}
