package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/ring"
)

// fake is a backend of one map. Its func fields, where they are not nil, come
// before it. A test whose server is on a real connection changes it by change.
type fake struct {
	mu      sync.Mutex // guards what follows, where change is used
	entries map[string]kv.Entry
	stamp   uint64
	ring    *ring.Ring
	status  node.Status

	do     func(ctx context.Context, op *kv.Op) error // an error answers
	leave  func() error
	forget func(name string, force bool) error
	acked  int // Answered of an operation that fails
	list   func(req node.ListRequest) error
	load   func(rec *node.Record) error // an error fails the record
	ready  error
}

func newFake(t testing.TB) *fake {
	t.Helper()
	r, err := ring.New(ring.Record{
		Version: 17, Cluster: "c1", Partitions: 8, Replicas: 1,
		Members: []ring.Member{{Name: "n1", Weight: 1, Zone: "z1"}, {Name: "n2", Weight: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &fake{entries: make(map[string]kv.Entry), ring: r}
}

// change calls set while nobody looks at f.
func (f *fake) change(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set()
}

// field returns a field of f.
func field[T any](f *fake, at *T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *at
}

func (f *fake) Do(ctx context.Context, op *kv.Op, dst []byte) node.Reply {
	reply := node.Reply{Owner: "n2"}
	if op.Need > 3 {
		reply.Err = fmt.Errorf("%d: %w, which is 3", op.Need, node.ErrBadNeed)
		return reply
	}
	reply.Receipt = receiptOf(op.Need)
	if do := field(f, &f.do); do != nil {
		if reply.Err = do(ctx, op); reply.Err != nil {
			reply.Receipt.Answered = field(f, &f.acked)
			return reply
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old, found := f.entries[string(op.Key)]
	now := time.Now().UnixMilli()
	live := found && old.Live(now)
	if op.Verb == kv.Get {
		reply.Receipt.Answered, reply.Receipt.Repaired = reply.Receipt.Need, 1
		reply.Entry = old
		if reply.Entry.Value = append(dst[:0], old.Value...); !live {
			reply.Err = kv.ErrNotFound
		}
		return reply
	}
	if op.If != nil && !op.If.Holds(&old, now) {
		reply.Err, reply.Entry = kv.ErrPrecondition, old
		return reply
	}
	reply.Receipt.Answered, reply.Receipt.Durable, reply.Receipt.Hinted = 3, 2, 1
	reply.Existed = live
	if op.Verb == kv.Delete && !live {
		return reply
	}
	f.stamp++
	e := kv.Entry{
		Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value), ContentType: op.ContentType,
		Expires: op.Expires, Version: kv.Version{Time: 0x0190_0000_0000_0000 + f.stamp<<16, Node: 7},
		Deleted: op.Verb == kv.Delete,
	}
	f.entries[string(op.Key)] = e
	e.Value = nil
	reply.Entry = e
	return reply
}

// receiptOf is that of a key with three replicas.
func receiptOf(need int) kv.Receipt {
	r := kv.Receipt{N: 3, Need: need, Ring: 17}
	switch need {
	case 0:
		r.Need = 2
	case kv.All:
		r.Need = 3
	}
	return r
}

func (f *fake) DoAll(ctx context.Context, ops []kv.Op) []node.Reply {
	replies := make([]node.Reply, len(ops))
	for i := range ops {
		replies[i] = f.Do(ctx, &ops[i], nil)
	}
	return replies
}

func (f *fake) List(_ context.Context, req node.ListRequest) (node.Page, error) {
	if list := field(f, &f.list); list != nil {
		if err := list(req); err != nil {
			return node.Page{}, err
		}
	}
	after, err := base64.URLEncoding.DecodeString(req.Cursor)
	if err != nil {
		return node.Page{}, node.ErrBadCursor
	}
	page := node.Page{Complete: true}
	for _, e := range f.sorted() {
		switch {
		case !strings.HasPrefix(string(e.Key), string(req.Prefix)), bytes.Compare(e.Key, after) <= 0 && req.Cursor != "":
			continue
		case len(page.Entries) == req.Limit:
			page.Cursor = base64.URLEncoding.EncodeToString(page.Entries[req.Limit-1].Key)
			page.Complete = false
			return page, nil
		}
		listed := node.Listed{Entry: e, Size: len(e.Value)}
		if !req.Values {
			listed.Value = nil
		}
		page.Entries = append(page.Entries, listed)
	}
	return page, nil
}

// sorted returns the live entries by key.
func (f *fake) sorted() []kv.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []kv.Entry
	for _, e := range f.entries {
		if e.Live(time.Now().UnixMilli()) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b kv.Entry) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	return all
}

func (f *fake) Snapshot(_ context.Context, visit func(*kv.Entry) bool) error {
	for _, e := range f.sorted() {
		if !visit(&e) {
			break
		}
	}
	return nil
}

func (f *fake) Status(context.Context) (node.Status, error) { return f.status, f.Ready() }

func (f *fake) Explain(_ context.Context, key []byte) (node.Explanation, error) {
	e := f.entries[string(key)]
	return node.Explanation{
		Partition: 3, Owner: "n2", Ring: 17,
		Replicas: []node.ReplicaState{
			{Name: "n2", HTTP: "127.0.0.1:8081", Alive: true, State: "live", Version: e.Version},
			{Name: "n1", HTTP: "127.0.0.1:8080", State: "unknown"},
		},
	}, f.Ready()
}

func (f *fake) Leave(context.Context) error { return f.leave() }

func (f *fake) Forget(_ context.Context, name string, force bool) error { return f.forget(name, force) }

func (f *fake) Ring() *ring.Ring              { return f.ring }
func (f *fake) Ready() error                  { return field(f, &f.ready) }
func (f *fake) Name() string                  { return "n1" }
func (f *fake) HTTPAddr(member string) string { return member + ".test:8080" }

// fakeLoad is a bulk load into a fake.
type fakeLoad struct {
	f      *fake
	ctx    context.Context
	report func(int64, error)

	mu             sync.Mutex // guards the counts
	stored, failed int64
}

func (f *fake) begin(ctx context.Context, report func(int64, error)) Load {
	return &fakeLoad{f: f, ctx: ctx, report: report}
}

func (l *fakeLoad) Add(rec node.Record) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	if l.f.load != nil {
		if err := l.f.load(&rec); err != nil {
			l.count(&l.failed)
			l.report(rec.Line, err)
			return nil
		}
	}
	l.f.Do(l.ctx, &kv.Op{
		Verb: kv.Put, Key: rec.Key, Value: rec.Value, ContentType: strings.Clone(rec.ContentType), Expires: rec.Expires, Need: rec.Need,
	}, nil)
	l.count(&l.stored)
	return nil
}

func (l *fakeLoad) count(n *int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
}

func (l *fakeLoad) get(n *int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *n
}

func (l *fakeLoad) Stored() int64 { return l.get(&l.stored) }
func (l *fakeLoad) Failed() int64 { return l.get(&l.failed) }
func (l *fakeLoad) Close() error  { return l.ctx.Err() }

// serve returns a server of f.
func (f *fake) serve(t testing.TB, cfg Config) *Server {
	t.Helper()
	backend := Backend{Keys: f, Lister: f, Cluster: f, Members: f, Load: f.begin}
	s, err := New(cfg, backend, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask has s answer a request with headers given as "Name: value".
func ask(s *Server, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// header returns the value of a response header whatever its case.
func header(w *httptest.ResponseRecorder, name string) string {
	for have, values := range w.Header() {
		if strings.EqualFold(have, name) {
			return strings.Join(values, "|")
		}
	}
	return ""
}

// newRecorder returns a response that no connection is behind.
func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

var errUnavailableForTest = fmt.Errorf("test: %w", peer.ErrUnavailable)
