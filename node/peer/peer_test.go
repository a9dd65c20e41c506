package peer

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a Handler over a map. A function that is set takes the place of
// what it would do.
type fakeNode struct {
	serve func(ctx context.Context, call *Call)
	scan  func(ctx context.Context, req ScanRequest) (ScanPage, error)

	mu   sync.Mutex // guards data
	data map[string][]byte
}

func (n *fakeNode) Serve(ctx context.Context, call *Call) {
	if n.serve != nil {
		n.serve(ctx, call)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range call.Ops {
		call.Results[i] = n.apply(&call.Ops[i])
	}
}

// apply performs op; the version of every entry is that of an echo: the length
// of its value.
func (n *fakeNode) apply(op *kv.Op) kv.Result {
	old, existed := n.data[string(op.Key)]
	switch {
	case op.Verb == kv.Put:
		if n.data == nil {
			n.data = map[string][]byte{}
		}
		n.data[string(op.Key)] = append([]byte{}, op.Value...)
		return kv.Result{Existed: existed, Entry: kv.Entry{Key: op.Key, Version: kv.Version{Time: 1}}}
	case op.Verb == kv.Delete:
		delete(n.data, string(op.Key))
		return kv.Result{Existed: existed}
	case !existed:
		return kv.Result{Err: kv.ErrNotFound}
	}
	return kv.Result{Entry: kv.Entry{Key: op.Key, Value: old, Version: kv.Version{Time: 1}}}
}

func (n *fakeNode) Scan(ctx context.Context, req ScanRequest) (ScanPage, error) {
	return n.scan(ctx, req)
}

// named is the identity of a node of cluster "c".
func named(name string) Identity {
	return Identity{Name: name, Boot: 7, Cluster: func() string { return "c" }}
}

// listen returns a listener at addr.
func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveOn serves l until stop is called, which waits for the server to end.
func serveOn(t testing.TB, l net.Listener, cfg ServerConfig, h Handler, answers map[string]AnswerFunc) (stop func()) {
	t.Helper()
	if cfg.Self.Name == "" {
		cfg.Self = named("server")
	}
	s := NewServer(cfg, h)
	for question, fn := range answers {
		s.Answer(question, fn)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// serve serves a node called server until the test ends.
func serve(t testing.TB, cfg ServerConfig, h Handler, answers map[string]AnswerFunc) (addr string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	t.Cleanup(serveOn(t, l, cfg, h, answers))
	return l.Addr().String()
}

// dialled returns a client of the node called server at addr.
func dialled(t testing.TB, cfg ClientConfig, addr string) *Client {
	t.Helper()
	if cfg.Self.Name == "" {
		cfg.Self = named("client")
	}
	c := NewClient(cfg, "server", addr, 0)
	t.Cleanup(func() { c.Close() })
	return c
}

// within returns a context that ends after d, or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func get(key string) kv.Op { return kv.Op{Verb: kv.Get, Key: []byte(key)} }

func put(key, value string) kv.Op {
	return kv.Op{Verb: kv.Put, Key: []byte(key), Value: []byte(value)}
}

func callOf(lane Lane, ops ...kv.Op) *Call {
	return &Call{Lane: lane, Ops: ops, Results: make([]kv.Result, len(ops))}
}

// jsonless is an answer function that takes its question as bytes.
func jsonless(fn func(ctx context.Context, in []byte) (any, error)) AnswerFunc {
	return func(ctx context.Context, in json.RawMessage) (any, error) { return fn(ctx, in) }
}

// waitFor returns once cond holds, and fails the test where it does not within
// 10 s.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it does not come about within 10 s")
		}
	}
}
