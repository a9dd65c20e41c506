package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultAddr is where a node answers unless it was told otherwise.
const DefaultAddr = "http://127.0.0.1:8080"

// Options are the settings of a [Client]. The zero Options are good defaults.
type Options struct {
	// HTTP sends the requests. Nil means a client that keeps connections open,
	// leaves bodies as they are, and takes at most 3 s to connect. Redirects
	// are not followed, unless it has a CheckRedirect of its own: no node
	// answers with one, and who does may have changed the key.
	HTTP *http.Client
	// Timeout ends one try, from connecting to the last byte of the answer; 0
	// means 10 s, a negative one that only the context ends it. Import, Export
	// and ExportTo take as long as they take.
	Timeout time.Duration
	// Tries is how often a request is sent at most; 0 means 4, 1 never again.
	Tries int
	// RepeatWrites says that an unconditional Put or Delete, and a Batch, may
	// be sent again when it is not known whether the first try was done. Its
	// effect is the same where nobody else writes the key meanwhile. Where
	// somebody does, the second try may undo their newer write, which is why
	// it is off unless asked for.
	RepeatWrites bool
}

// Client sends requests to the nodes of one cluster. It is safe for
// concurrent use, and spreads requests over its nodes in turn.
//
// A request is sent again, to another node where there is one, when a node
// cannot be reached, is overloaded (429) or unavailable (503), up to
// Options.Tries times and as long as its context lasts. Retry-After is
// honoured: a node is left alone until then, and where that is longer than the
// context lasts, the error is returned at once. Reads are repeated also when a
// connection broke under way; writes only when it is certain that nothing was
// applied, and otherwise return [ErrUnclear] beside the cause.
type Client struct {
	http  *http.Client
	nodes []*endpoint
	next  atomic.Uint32 // the node that the next request goes to first

	timeout      time.Duration // 0 where only the context ends a try
	tries        int
	repeatWrites bool
}

// New returns a client of the cluster that has nodes at addrs, such as
// "127.0.0.1:8080" or "https://db.example:8443"; without any, DefaultAddr. It
// connects to none of them yet.
func New(addrs ...string) (*Client, error) {
	return Options{}.New(addrs...)
}

// New is [New] with settings of its own.
func (o Options) New(addrs ...string) (*Client, error) {
	if len(addrs) == 0 {
		addrs = []string{DefaultAddr}
	}
	c := &Client{
		http:         httpClient(o.HTTP),
		timeout:      o.Timeout,
		tries:        o.Tries,
		repeatWrites: o.RepeatWrites,
	}
	switch {
	case c.timeout == 0:
		c.timeout = 10 * time.Second
	case c.timeout < 0:
		c.timeout = 0
	}
	if c.tries <= 0 {
		c.tries = 4
	}
	for _, addr := range addrs {
		n, err := parseAddr(addr)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", addr, err)
		}
		c.nodes = append(c.nodes, n)
	}
	return c, nil
}

// Close closes the connections that are kept open for later requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// httpClient returns base, or where it is nil one that suits many small
// requests to few nodes, so that it does not follow redirects.
func httpClient(base *http.Client) *http.Client {
	var h http.Client
	if base != nil {
		h = *base
	} else {
		h.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout:   3 * time.Second,
			MaxIdleConnsPerHost:   256,
			IdleConnTimeout:       30 * time.Second, // below what a node allows
			DisableCompression:    true,
			ForceAttemptHTTP2:     false,    // Import needs HTTP/1.1 full duplex
			WriteBufferSize:       64 << 10, // a whole chunk of an Import in one piece
			ReadBufferSize:        16 << 10,
			ResponseHeaderTimeout: 0, // Timeout covers it, and an Import may be long
		}
	}
	if h.CheckRedirect == nil {
		h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return &h
}

var errAddr = errors.New("want host:port, http://host:port or https://host:port")

// parseAddr returns the node at addr.
func parseAddr(addr string) (*endpoint, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return nil, errAddr // the parser's own text speaks of URLs, not of addresses
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		strings.TrimSuffix(u.String(), "/") != bare.String() {
		return nil, errAddr
	}
	return &endpoint{scheme: u.Scheme, host: u.Host}, nil
}
