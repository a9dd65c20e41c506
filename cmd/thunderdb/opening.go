package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/thunderdb/thunderdb/httpapi"
	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/ring"
)

// errOpening is why a node that opens its store is not ready.
var errOpening = fmt.Errorf("%w: the store is being opened", node.ErrNotReady)

// whileOpening answers the clients of l while do runs, so that whoever watches
// the process hears from it from its first moment: it lives, and is not ready.
// l is open afterwards.
func whileOpening(ctx context.Context, cfg *serveConfig, l net.Listener, logger hclog.Logger, do func() error) error {
	b := opening{name: cfg.Name}
	api, err := httpapi.New(httpapi.Config{Software: softwareVersion(), Timeouts: httpapi.Timeouts{Drain: 200 * time.Millisecond}},
		httpapi.Backend{Keys: b, Lister: b, Cluster: b, Members: b, Load: b.load},
		logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	tcp := l.(*net.TCPListener)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- api.Serve(serving, &borrowed{TCPListener: tcp}) }()
	err = do()
	stop()
	// A client that was cut off is no reason not to start.
	if cut := <-served; cut != nil {
		logger.Debug("answering while the store was opened", "error", cut)
	}
	return errors.Join(err, tcp.SetDeadline(time.Time{}))
}

// borrowed is a listener that is given back and not closed.
type borrowed struct {
	*net.TCPListener
	returned atomic.Bool
}

// Accept implements net.Listener.
func (b *borrowed) Accept() (net.Conn, error) {
	c, err := b.TCPListener.Accept()
	if err != nil && b.returned.Load() {
		return nil, net.ErrClosed
	}
	return c, err
}

// Close ends Accept, and nothing else.
func (b *borrowed) Close() error {
	b.returned.Store(true)
	return b.SetDeadline(time.Unix(1, 0))
}

// opening is what there is of a node whose store is being opened: its name.
type opening struct{ name string }

func (o opening) Do(context.Context, *kv.Op, []byte) node.Reply {
	return node.Reply{Result: kv.Result{Err: errOpening}}
}

func (o opening) DoAll(_ context.Context, ops []kv.Op) []node.Reply {
	replies := make([]node.Reply, len(ops))
	for i := range replies {
		replies[i].Err = errOpening
	}
	return replies
}

func (o opening) List(context.Context, node.ListRequest) (node.Page, error) {
	return node.Page{}, errOpening
}
func (o opening) Snapshot(context.Context, func(*kv.Entry) bool) error { return errOpening }
func (o opening) Status(context.Context) (node.Status, error)          { return node.Status{}, errOpening }
func (o opening) Explain(context.Context, []byte) (node.Explanation, error) {
	return node.Explanation{}, errOpening
}
func (o opening) Leave(context.Context) error                { return errOpening }
func (o opening) Forget(context.Context, string, bool) error { return errOpening }
func (o opening) Ring() *ring.Ring                           { return nil }
func (o opening) Ready() error                               { return errOpening }
func (o opening) Name() string                               { return o.name }
func (o opening) HTTPAddr(string) string                     { return "" }

func (o opening) load(context.Context, func(int64, error)) httpapi.Load { return noLoad{} }

// noLoad is a bulk load into a store that is being opened.
type noLoad struct{}

func (noLoad) Add(node.Record) error { return errOpening }
func (noLoad) Stored() int64         { return 0 }
func (noLoad) Failed() int64         { return 0 }
func (noLoad) Close() error          { return nil }
