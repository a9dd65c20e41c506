package nodetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// ErrGone is returned to a client that finds nobody where a node was: its
// operation reached nobody.
var ErrGone = errors.New("nodetest: no such process runs")

// Do has a node run an operation, as a client that is connected to it would:
// a client hears nothing of a node that is paused or dies meanwhile, and gives
// up after [Options].Timeout.
func (c *Cluster) Do(ctx context.Context, name string, op *kv.Op) node.Reply {
	var reply node.Reply
	err := c.reach(ctx, name, func(ctx context.Context, n *node.Node) { reply = n.Do(ctx, op, nil) })
	if err != nil {
		return node.Reply{Result: kv.Result{Err: err}}
	}
	return reply
}

// DoAll is Do for several operations at once. A client that hears nothing does
// not know of any.
func (c *Cluster) DoAll(ctx context.Context, name string, ops []kv.Op) []node.Reply {
	var replies []node.Reply
	err := c.reach(ctx, name, func(ctx context.Context, n *node.Node) { replies = n.DoAll(ctx, ops) })
	if err != nil {
		replies = make([]node.Reply, len(ops))
		for i := range replies {
			replies[i].Err = err
		}
	}
	return replies
}

// reach has a node do something for a client. Its error says why the client
// does not hear what came of it, and is ErrGone where nothing was done.
func (c *Cluster) reach(ctx context.Context, name string, do func(context.Context, *node.Node)) error {
	l := c.life(name)
	if !l.enter() {
		return ErrGone
	}
	defer l.asking.Done()
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(l.clients, cancel)()
	err := c.net.awaitRunning(ctx, name)
	if err == nil {
		do(ctx, l.node)
		err = c.net.awaitRunning(ctx, name)
	}
	if l.clients.Err() != nil {
		return errCrashed
	}
	return err
}

// awaitRunning waits until a host is not paused. Its error is ctx's.
func (n *Network) awaitRunning(ctx context.Context, name string) error {
	for {
		n.mu.Lock()
		paused, wake := n.paused[name], n.wake.wait()
		n.mu.Unlock()
		if !paused {
			return nil
		}
		if err := sleepUntil(ctx, never, wake); err != nil {
			return err
		}
	}
}

// Put puts a value through a node. need is "", "one" or "all".
func (c *Cluster) Put(name, key, value, need string) error {
	op := kv.Op{Verb: kv.Put, Key: []byte(key), Value: []byte(value)}
	if err := require(&op, need); err != nil {
		return err
	}
	return c.Do(c.t.Context(), name, &op).Err
}

// Get gets a value through a node. need is as for Put.
func (c *Cluster) Get(name, key, need string) (string, error) {
	op := kv.Op{Verb: kv.Get, Key: []byte(key)}
	if err := require(&op, need); err != nil {
		return "", err
	}
	r := c.Do(c.t.Context(), name, &op)
	return string(r.Entry.Value), r.Err
}

// Delete deletes a key through a node. need is as for Put.
func (c *Cluster) Delete(name, key, need string) error {
	op := kv.Op{Verb: kv.Delete, Key: []byte(key)}
	if err := require(&op, need); err != nil {
		return err
	}
	return c.Do(c.t.Context(), name, &op).Err
}

// List returns all live keys with their values, listed through a node.
func (c *Cluster) List(name string) (map[string]string, error) {
	if c.life(name).clients.Err() != nil {
		return nil, ErrGone
	}
	out := make(map[string]string)
	req := node.ListRequest{Limit: 500, Values: true}
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), c.opts.Timeout)
		page, err := c.Node(name).List(ctx, req)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			if _, twice := out[string(e.Key)]; twice {
				return nil, fmt.Errorf("key %q is listed twice", e.Key)
			}
			out[string(e.Key)] = string(e.Value)
		}
		if page.Complete {
			return out, nil
		}
		req.Cursor = page.Cursor
	}
}

// ErrorText returns what scripts call an error: the same for errors that say
// the same of an operation.
func ErrorText(err error) string {
	for _, word := range words {
		if errors.Is(err, word.err) {
			return word.text
		}
	}
	return err.Error()
}
