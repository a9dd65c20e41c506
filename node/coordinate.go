package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// coordinate runs an operation on a key of a partition that this node owns
// and may serve under s, which its caller has acquired.
func (n *Node) coordinate(ctx context.Context, s *topology.State, p int, op *kv.Op, dst []byte) kv.Result {
	switch op.Verb {
	case kv.Get:
		return n.get(ctx, s, p, op.Key, dst)
	case kv.Put, kv.Delete:
		return n.write(ctx, s, p, op)
	}
	return kv.Result{Err: fmt.Errorf("operation on %q: %s %d", op.Key, op.Verb, op.Verb)}
}

// newest returns the newest entry of a key that any node has acknowledged.
// What this node holds is the newest, unless the partition was away in
// between; what it does not hold, the partition's former owners may. Its error
// is kv.ErrNotFound only when all of them hold none, and peer.ErrUnavailable
// where one of them did not answer: then the entry is this node's own.
func (n *Node) newest(ctx context.Context, s *topology.State, p int, key, dst []byte) (kv.Entry, error) {
	mine, err := n.store.Get(ctx, key, dst)
	if !n.mayBeElsewhere(s, p, err) {
		return mine, err
	}
	theirs, terr := n.inherit(ctx, s, s.Former(p), key)
	return newer(mine, err, theirs, terr)
}

// mayBeElsewhere reports whether a former owner of a partition may hold the
// newest entry of a key, where this node's store answered with err. A store that
// evicts may have had a newer one: then the key is absent, and no old value of
// it comes back.
func (n *Node) mayBeElsewhere(s *topology.State, p int, err error) bool {
	switch {
	case len(s.Former(p)) == 0:
		return false
	case errors.Is(err, kv.ErrNotFound):
		return !n.evicts
	}
	return err == nil && s.Returned(p)
}

// newer returns the newer of two entries, or why it is not known.
func newer(mine kv.Entry, err error, theirs kv.Entry, terr error) (kv.Entry, error) {
	switch {
	case errors.Is(terr, kv.ErrNotFound), err != nil && !errors.Is(err, kv.ErrNotFound):
		return mine, err
	case terr != nil:
		return mine, terr
	case err == nil && !theirs.Supersedes(&mine):
		return mine, nil
	}
	return theirs, nil
}

// inherit asks the former owners of a key's partition, which keep what they
// held when it changed hands. An owner that does not answer might hold it.
func (n *Node) inherit(ctx context.Context, s *topology.State, former []int, key []byte) (kv.Entry, error) {
	var newest kv.Entry
	found := false
	for _, at := range former {
		e, err := n.heldBy(ctx, s.MemberName(at), key)
		switch {
		case errors.Is(err, kv.ErrNotFound):
		case err != nil:
			return kv.Entry{}, fmt.Errorf("ask %s, a former owner: %w", s.MemberName(at), err)
		case !found || e.Supersedes(&newest):
			newest, found = e, true
		}
	}
	if !found {
		return kv.Entry{}, kv.ErrNotFound
	}
	newest.Key = key
	return newest, nil
}

// heldBy returns the very entry that another node holds, whatever the ring
// says. Its error is kv.ErrNotFound, or peer.ErrUnavailable.
func (n *Node) heldBy(ctx context.Context, name string, key []byte) (kv.Entry, error) {
	client, err := n.peers.client(name)
	if err != nil {
		return kv.Entry{}, err
	}
	call := peer.Call{
		Lane:    peer.Local,
		Ops:     []kv.Op{{Verb: kv.Get, Key: key}},
		Results: make([]kv.Result, 1),
	}
	if err := client.Do(ctx, &call); err != nil {
		return kv.Entry{}, err
	}
	return call.Results[0].Entry, call.Results[0].Err
}
