package node

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/ring"
)

// getAll is get of each key. As many replicas as are needed are asked, each
// once for all keys; a key of which their answers do not agree, or are too few,
// is then read by itself.
func (n *Node) getAll(ctx context.Context, a *admission, ops []kv.Op, results []kv.Result) {
	if n.allAlone(a.s, ops) {
		n.share.read(ctx, ops, results)
		for i := range results {
			e, receipt, err := foundAlone(a.s, results[i].Entry, results[i].Err)
			results[i] = n.shown(e, err)
			results[i].Receipt = receipt
		}
		return
	}
	m := n.newMany(a, ops)
	m.ask(ctx)
	inParallel(len(ops), func(i int) func() {
		if e, receipt, ok := m.agreed(i); ok {
			results[i] = n.shown(e, nil)
			results[i].Receipt = receipt
			return nil
		}
		return func() {
			e, receipt, err := n.find(ctx, a.s, &ops[i], nil)
			results[i] = n.shown(e, err)
			results[i].Receipt = receipt
		}
	})
	for i := range results { // the ring is learned anew when nothing else runs under a
		if errors.Is(results[i].Err, peer.ErrStale) {
			results[i] = n.get(ctx, a, &ops[i], nil)
		}
	}
}

// many is a read of many keys.
type many struct {
	n    *Node
	a    *admission
	ops  []kv.Op
	to   []reach // by operation; without members where it is read by itself
	legs map[uint64]*leg

	mu      sync.Mutex // guards what follows
	answers [][]quorum.Answer
}

func (n *Node) newMany(a *admission, ops []kv.Op) *many {
	m := &many{
		n: n, a: a, ops: ops,
		to: make([]reach, len(ops)), legs: map[uint64]*leg{}, answers: make([][]quorum.Answer, len(ops)),
	}
	for i := range ops {
		to, err := reachOf(a.s, a.s.Ring.Partition(ops[i].Key), ops[i].Need, n.id)
		if err != nil {
			continue
		}
		order, _ := n.inOrder(&to)
		if len(order) < to.read.Need {
			continue
		}
		m.to[i] = to
		for rank, at := range order[:to.read.Need] {
			m.add(i, at, to.members[at], rank == 0)
		}
	}
	return m
}

// add has one replica asked for one key.
func (m *many) add(op, at int, member *ring.Member, value bool) {
	l := m.legs[member.Storage]
	if l == nil {
		l = &leg{member: member}
		m.legs[member.Storage] = l
	}
	asked := kv.Op{Verb: kv.Get, Key: m.ops[op].Key, Blind: !value || m.ops[op].Blind}
	if member.Storage != m.n.id { // who answers late may do so when the caller's bytes are gone
		asked.Key = bytes.Clone(asked.Key)
	}
	l.at, l.bit, l.call.Ops = append(l.at, op), append(l.bit, at), append(l.call.Ops, asked)
}

// manyPatience is how long replicas have to answer for many keys; then each key
// is read by itself, which goes around a replica that is slow.
const manyPatience = time.Second

// ask asks all replicas at once, and waits for them.
func (m *many) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, manyPatience)
	defer cancel()
	var asked sync.WaitGroup
	for _, l := range m.legs {
		l.call.Lane, l.call.Ring, l.call.Read = peer.ReplicaReads, m.a.s.Version(), m.a.s.Read.Version()
		l.call.Results = make([]kv.Result, len(l.call.Ops))
		asked.Go(func() {
			if l.member.Storage == m.n.id {
				m.n.share.serve(ctx, &l.call)
				m.took(l)
				return
			}
			client, err := m.n.peers.to(l.member)
			if err == nil && client.Do(ctx, &l.call) == nil {
				m.took(l)
			}
		})
	}
	asked.Wait()
}

// took keeps what a replica has answered.
func (m *many) took(l *leg) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, at := range l.at {
		r := &l.call.Results[i]
		if r.Err == nil || errors.Is(r.Err, kv.ErrNotFound) {
			m.answers[at] = append(m.answers[at], quorum.Answer{
				Replica: l.bit[i], Entry: r.Entry, Full: !l.call.Ops[i].Blind,
			})
		}
	}
}

// agreed returns what a key holds where the answers show that, and that it will
// be found by later reads too.
func (m *many) agreed(i int) (kv.Entry, kv.Receipt, bool) {
	to := &m.to[i]
	if to.members == nil || len(m.answers[i]) < to.read.Need {
		return kv.Entry{}, kv.Receipt{}, false
	}
	receipt := kv.Receipt{N: to.n, Need: to.read.Need, Answered: len(m.answers[i]), Ring: m.a.s.Version()}
	at, holders := quorum.Newest(m.answers[i])
	if at < 0 {
		return kv.Entry{}, receipt, true
	}
	if to.certain() && !to.write.Reached(holders) {
		return kv.Entry{}, receipt, false
	}
	e := m.answers[i][at].Entry
	e.Key = m.ops[i].Key
	if e.Deleted || m.ops[i].Blind {
		return e, receipt, true
	}
	for _, answer := range m.answers[i] {
		if answer.Full && answer.Entry.Version == e.Version {
			e.Value = answer.Entry.Value
			return e, receipt, true
		}
	}
	return kv.Entry{}, receipt, false
}
