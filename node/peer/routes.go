package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// errEnding is what a request meets that comes while the server ends.
var errEnding = fmt.Errorf("%w: it is shutting down", ErrUnavailable)

// routes returns what the peer listener answers.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStream, s.guard(s.stream))
	mux.HandleFunc("POST "+pathAsk+"{question}", s.guard(s.ask))
	mux.HandleFunc("POST "+pathScan, s.guard(s.scan))
	mux.HandleFunc("GET "+pathIdentify, s.identify)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sign(w.Header(), &s.cfg.Self, s.cfg.Clock)
		if !s.begin() {
			fail(w, http.StatusServiceUnavailable, errEnding)
			return
		}
		defer s.group.Done()
		mux.ServeHTTP(w, r)
	})
}

// guard lets requests through that mean this node, and come from its cluster.
func (s *Server) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := sameCluster(header(r.Header, headerCluster), s.cfg.Self.Cluster())
		if to := header(r.Header, headerTo); err == nil && to != s.cfg.Self.Name {
			err = fmt.Errorf("%w: this is %q, not %q", ErrForeign, s.cfg.Self.Name, to)
		}
		if err == nil {
			err = sameStorage(storageOf(r.Header, headerToStorage), s.cfg.Self.Storage())
		}
		if err != nil {
			fail(w, http.StatusMisdirectedRequest, err)
			return
		}
		observeHeader(r.Header, s.cfg.Clock)
		next(w, r)
	}
}

func (s *Server) identify(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, identityDocument{Name: s.cfg.Self.Name, Boot: s.cfg.Self.Boot, Cluster: s.cfg.Self.Cluster()})
}

func (s *Server) ask(w http.ResponseWriter, r *http.Request) {
	answer := s.answers[r.PathValue("question")]
	if answer == nil {
		fail(w, http.StatusNotFound, fmt.Errorf("no such question: %s", r.PathValue("question")))
		return
	}
	ctx, cancel, body, err := s.open(w, r)
	defer cancel()
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	out, err := answer(ctx, body)
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	s.reply(w, out)
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request) {
	ctx, cancel, body, err := s.open(w, r)
	defer cancel()
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	req, err := decodeScanRequest(body)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	page, err := s.handler.Scan(ctx, req)
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	s.send(w, "application/octet-stream", encodeScanPage(&page))
}

// open reads a request's body, and returns a context that ends at its
// deadline. Reading and answering are bounded by the same deadline.
func (s *Server) open(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc, []byte, error) {
	left := s.cfg.Timeout
	if ms, err := strconv.ParseUint(r.Header.Get(headerTimeout), 10, 31); err == nil {
		left = time.Duration(ms) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(r.Context(), left)
	if err := bound(w, left+answerGrace); err != nil {
		return ctx, cancel, nil, err
	}
	body, err := readBody(r.Body, r.ContentLength, s.cfg.MaxFrame)
	return ctx, cancel, body, err
}

// bound limits how long reading a request and answering it may take from now on.
func bound(w http.ResponseWriter, left time.Duration) error {
	c, until := http.NewResponseController(w), time.Now().Add(left)
	return errors.Join(c.SetReadDeadline(until), c.SetWriteDeadline(until))
}

// reply answers with v as JSON.
func (s *Server) reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	s.send(w, "application/json", body)
}

func (s *Server) send(w http.ResponseWriter, media string, body []byte) {
	// What was done meanwhile may have been stamped.
	stamp(w.Header(), s.cfg.Clock)
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the asking node sees that it is cut short
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, err error) {
	c, text := codeOf(err)
	body, _ := json.Marshal(problem{Code: c, Text: text}) // a number and a string
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the asking node sees that it is cut short
}

// statusOf returns the status of an answer that reports err. It is for who
// looks on: nodes read the code.
func statusOf(err error) int {
	switch c, _ := codeOf(err); c {
	case codeForeign, codeStale:
		return http.StatusMisdirectedRequest
	case codeUnavailable:
		return http.StatusServiceUnavailable
	case codeOverloaded:
		return http.StatusTooManyRequests
	case codeDeadline:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
