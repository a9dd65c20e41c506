package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// Everything between nodes begins as an ordinary HTTP/1.1 request: what a
// node asks, under a path, and who asks whom, in headers. A stream then leaves
// HTTP behind.
const (
	pathStream   = "/v1/stream"
	pathAsk      = "/v1/ask/"
	pathScan     = "/v1/scan"
	pathIdentify = "/v1/identify"

	// protocol is what a stream is upgraded to. Its number changes with the
	// format of the frames.
	protocol       = protocolFamily + "2"
	protocolFamily = "thunderdb-peer/"

	headerFrom    = "Thunderdb-From"    // the sender's name, in requests and answers; escaped as in a URL
	headerTo      = "Thunderdb-To"      // the name of the node that is meant
	headerBoot    = "Thunderdb-Boot"    // the sender's boot identity
	headerCluster = "Thunderdb-Cluster" // the sender's cluster, empty where it knows none
	headerClock   = "Thunderdb-Clock"   // the sender's clock
	headerWall    = "Thunderdb-Wall"    // the sender's wall clock, in Unix milliseconds
	headerLane    = "Thunderdb-Lane"
	headerTimeout = "Thunderdb-Timeout" // milliseconds until the deadline

	headerStorage   = "Thunderdb-Storage"    // the sender's storage identity
	headerToStorage = "Thunderdb-To-Storage" // that of the node that is meant; 0 is any
)

// errVersion says that the peer speaks another version of the protocol.
var errVersion = errors.New("the peer speaks another version of the protocol, not " + protocol)

// identityDocument is the answer of pathIdentify.
type identityDocument struct {
	Name    string `json:"name"`
	Boot    uint64 `json:"boot,string"`
	Cluster string `json:"cluster"`
}

// problem is the body of an answer that reports an error.
type problem struct {
	Code code   `json:"code"`
	Text string `json:"text"`
}

// sign puts into h who sends it.
func sign(h http.Header, self *Identity, clock *kv.Clock) {
	h.Set(headerFrom, url.QueryEscape(self.Name))
	h.Set(headerBoot, strconv.FormatUint(self.Boot, 10))
	h.Set(headerStorage, strconv.FormatUint(self.Storage(), 10))
	h.Set(headerCluster, url.QueryEscape(self.Cluster()))
	stamp(h, clock)
}

// stamp puts into h what the sender's clocks say.
func stamp(h http.Header, clock *kv.Clock) {
	h.Set(headerClock, strconv.FormatUint(clock.Last(), 10))
	h.Set(headerWall, strconv.FormatInt(clock.Now(), 10))
}

// address puts into h who is meant.
func (c *Client) address(h http.Header) {
	h.Set(headerTo, url.QueryEscape(c.name))
	h.Set(headerToStorage, strconv.FormatUint(c.storage, 10))
}

// observe takes in what a node's clock says, where that node's wall clock is
// not too far ahead.
func observe(clock *kv.Clock, theirs uint64, wall int64) {
	if !isAhead(wall, clock.Now()) {
		clock.Observe(theirs)
	}
}

// isAhead reports whether a wall clock that says theirs is too far ahead of one
// that says ours, in Unix milliseconds.
func isAhead(theirs, ours int64) bool { return theirs > ours+kv.MaxAhead.Milliseconds() }

// observeHeader is observe of the clocks in h. A header without them is left
// alone: not everything that answers on a port is a node.
func observeHeader(h http.Header, clock *kv.Clock) {
	theirs, err := strconv.ParseUint(h.Get(headerClock), 10, 64)
	if err != nil {
		return
	}
	if wall, err := strconv.ParseInt(h.Get(headerWall), 10, 64); err == nil {
		observe(clock, theirs, wall)
	}
}

// storageOf returns the storage identity in a header; 0 where there is none.
func storageOf(h http.Header, name string) uint64 {
	id, err := strconv.ParseUint(h.Get(name), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// sameStorage returns ErrForeign where one storage identity is meant and another
// one is met.
func sameStorage(meant, met uint64) error {
	if meant != 0 && meant != met {
		return fmt.Errorf("%w: its storage identity is %016x, not %016x", ErrForeign, met, meant)
	}
	return nil
}

// header returns an escaped header; "" where it cannot be read.
func header(h http.Header, name string) string {
	v, err := url.QueryUnescape(h.Get(name))
	if err != nil {
		return ""
	}
	return v
}

// sameCluster returns ErrForeign where theirs and ours are known and differ.
func sameCluster(theirs, ours string) error {
	if theirs != "" && ours != "" && theirs != ours {
		return fmt.Errorf("%w: it belongs to %q, this one to %q", ErrForeign, theirs, ours)
	}
	return nil
}

// recognize checks that an answer is from the node that was meant.
func (c *Client) recognize(h http.Header) error {
	if name := header(h, headerFrom); name != c.name {
		return fmt.Errorf("%w: %q answers at %s", ErrForeign, name, c.addr)
	}
	if err := sameStorage(c.storage, storageOf(h, headerStorage)); err != nil {
		return err
	}
	return sameCluster(header(h, headerCluster), c.cfg.Self.Cluster())
}

// connect dials, and makes the connection a stream of l.
func (c *Client) connect(l *lane) (*stream, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Handshake)
	defer cancel()
	conn, err := c.cfg.Dial(ctx, c.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = c.upgrade(conn, l.id)
	if !stop() && err == nil {
		err = context.Cause(ctx) // the deadline is set, or about to be
	}
	if err != nil {
		_ = conn.Close() // never used
		return nil, err
	}
	s := &stream{lane: l, conn: conn, w: stallWriter{conn: conn, stall: c.cfg.Stall}}
	s.r = bufio.NewReaderSize(s, bufferSize)
	return s, nil
}

// upgrade asks for a stream on a fresh connection.
func (c *Client) upgrade(conn net.Conn, lane Lane) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+c.addr+pathStream, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	req.Header.Set(headerLane, strconv.Itoa(int(lane)))
	c.address(req.Header)
	sign(req.Header, &c.cfg.Self, c.cfg.Clock)
	var out bytes.Buffer
	if err := req.Write(&out); err != nil {
		return err
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxAnswerHead))
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // of a connection that is kept or closed as it is
	return c.welcomed(resp, r)
}

// maxAnswerHead is the size in bytes of the largest answer to a handshake.
const maxAnswerHead = 64 << 10

// welcomed judges the answer to a handshake.
func (c *Client) welcomed(resp *http.Response, r *bufio.Reader) error {
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
	case http.StatusUpgradeRequired:
		return fmt.Errorf("%w but %s", errVersion, resp.Header.Get("Upgrade"))
	default:
		return refusal(resp)
	}
	if resp.Header.Get("Upgrade") != protocol {
		return errVersion
	}
	if r.Buffered() > 0 {
		return errUnasked
	}
	if err := c.recognize(resp.Header); err != nil {
		return err
	}
	observeHeader(resp.Header, c.cfg.Clock) // of nobody but the node that was meant
	return nil
}

// refusal returns the error that an answer reports.
func refusal(resp *http.Response) error {
	var p problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4*maxText))
	if err != nil || json.Unmarshal(body, &p) != nil || p.Code == codeOK {
		return fmt.Errorf("it answers %q", strings.TrimSpace(resp.Status))
	}
	return errorOf(p.Code, p.Text)
}
