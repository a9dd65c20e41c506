package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/antientropy"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// What a page of a listing between replicas holds at most.
const (
	pageEntries = 2000
	pageBytes   = 1 << 20
)

var (
	_ antientropy.Replica = (*ownReplica)(nil)
	_ antientropy.Replica = (*otherReplica)(nil)
)

// ownReplica is what this node holds, for comparisons. It is not fenced: what
// the node does itself it does under what it knows.
type ownReplica struct {
	h *share
	// withPartition says that what is applied comes because its partition does.
	withPartition bool
}

// Name implements antientropy.Replica.
func (o *ownReplica) Name() string { return o.h.name }

// Digests implements antientropy.Replica.
func (o *ownReplica) Digests(ctx context.Context, partitions []int) ([]antientropy.Digest, error) {
	scanner, ok := o.h.store.(kv.Scanner)
	if !ok {
		return nil, kv.ErrNoScan
	}
	out := make([]antientropy.Digest, len(partitions))
	for i, p := range partitions {
		if !o.h.trees.Known(p) {
			err := o.h.trees.Rebuild(ctx, p, func(visit func(*kv.Entry) bool) error {
				return scanner.Scan(ctx, p, nil, visit)
			})
			if err != nil && !errors.Is(err, antientropy.ErrBusy) {
				return nil, err
			}
		}
		out[i] = o.h.trees.Digest(p)
	}
	return out, nil
}

// List implements antientropy.Replica.
func (o *ownReplica) List(ctx context.Context, partition int, from []byte, values bool) ([]kv.Entry, []byte, error) {
	page, err := o.h.scan(ctx, peer.ScanRequest{
		Partition: partition, From: from, Until: partition + 1,
		Values: values, Limit: pageEntries, Bytes: pageBytes,
	})
	return entriesOf(&page, partition), page.nextIn(partition), err
}

// Get implements antientropy.Replica.
func (o *ownReplica) Get(ctx context.Context, keys [][]byte) ([]kv.Entry, []error) {
	found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
	for i, key := range keys {
		found[i], errs[i] = o.h.store.Get(ctx, key, nil)
	}
	return found, errs
}

// Apply implements antientropy.Replica.
func (o *ownReplica) Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error) {
	ops := appliesOf(entries)
	results := make([]kv.Result, len(ops))
	held := o.h.fence.share(ops)
	o.h.applyFenced(ctx, ops, results, o.withPartition)
	o.h.fence.release(held)
	return heldIn(results)
}

// appliesOf returns the operations that have a replica keep entries.
func appliesOf(entries []kv.Entry) []kv.Op {
	ops := make([]kv.Op, len(entries))
	for i := range entries {
		ops[i] = applyOf(&entries[i], 0)
	}
	return ops
}

// heldIn returns what is held after applying, and the first error that is no
// promise, or else that.
func heldIn(results []kv.Result) ([]kv.Version, error) {
	held := make([]kv.Version, len(results))
	var promised error
	for i := range results {
		switch err := results[i].Err; {
		case errors.Is(err, kv.ErrConflict):
			promised = err
		case err != nil:
			return held, err
		default:
			held[i] = results[i].Entry.Version
		}
	}
	return held, promised
}

// otherReplica is another node as a replica, under a state of the ring; for a
// comparison under the ring version compare, where that is not 0.
type otherReplica struct {
	n       *Node
	member  *ring.Member
	s       *topology.State
	compare uint64
	// horizons, where it is not nil, receives those of the partitions whose digests
	// were asked for.
	horizons map[int]uint64
}

// Name implements antientropy.Replica.
func (o *otherReplica) Name() string { return o.member.Name }

// digestQuestion asks a node for digests; takes a digestRequest and gives a
// digestAnswer.
const digestQuestion = "digests"

type digestRequest struct {
	Ring       uint64 `json:"ring"`
	Read       uint64 `json:"read"`
	Compare    uint64 `json:"compare,omitempty"`
	Partitions []int  `json:"partitions"`
	Horizons   bool   `json:"horizons,omitempty"` // whether these are wanted, too
}

type digestAnswer struct {
	Digests  []antientropy.Digest `json:"digests"`
	Horizons []uint64             `json:"horizons,omitempty"`
}

// Digests implements antientropy.Replica.
func (o *otherReplica) Digests(ctx context.Context, partitions []int) ([]antientropy.Digest, error) {
	client, err := o.n.peers.to(o.member)
	if err != nil {
		return nil, err
	}
	var out digestAnswer
	err = client.Ask(ctx, digestQuestion, digestRequest{
		Ring: o.s.Version(), Read: o.s.Read.Version(), Compare: o.compare, Partitions: partitions,
		Horizons: o.horizons != nil,
	}, &out)
	if o.horizons != nil {
		for i := range min(len(out.Horizons), len(partitions)) {
			o.horizons[partitions[i]] = out.Horizons[i]
		}
	}
	return out.Digests, err
}

// decode decodes what a question came with, which names partitions.
func (n *Node) decode(question string, raw json.RawMessage, in any, partitions *[]int) error {
	if err := json.Unmarshal(raw, in); err != nil {
		return fmt.Errorf("read %s: %w", question, err)
	}
	if slices.ContainsFunc(*partitions, func(p int) bool { return p < 0 || p >= n.cfg.Partitions }) {
		return fmt.Errorf("read %s: no such partition", question)
	}
	return nil
}

// answerDigests answers a digestQuestion.
func (n *Node) answerDigests(ctx context.Context, raw json.RawMessage) (any, error) {
	var in digestRequest
	if err := n.decode(digestQuestion, raw, &in, &in.Partitions); err != nil {
		return nil, err
	}
	s, err := n.share.open(ctx, in.Ring, in.Read, in.Compare)
	if err != nil {
		return nil, err
	}
	defer s.Release()
	own := ownReplica{h: n.share}
	var out digestAnswer
	if out.Digests, err = own.Digests(ctx, in.Partitions); in.Horizons && n.share.horizons != nil {
		for _, p := range in.Partitions {
			out.Horizons = append(out.Horizons, n.share.horizons.of(p))
		}
	}
	return out, err
}

// List implements antientropy.Replica.
func (o *otherReplica) List(ctx context.Context, partition int, from []byte, values bool) ([]kv.Entry, []byte, error) {
	client, err := o.n.peers.to(o.member)
	if err != nil {
		return nil, nil, err
	}
	got, err := client.Scan(ctx, peer.ScanRequest{
		Ring: o.s.Version(), Read: o.s.Read.Version(), Compare: o.compare,
		Partition: partition, From: from, Until: partition + 1,
		Values: values, Limit: pageEntries, Bytes: pageBytes,
	})
	page := scanned{ScanPage: got}
	return entriesOf(&page, partition), page.nextIn(partition), err
}

// Get implements antientropy.Replica.
func (o *otherReplica) Get(ctx context.Context, keys [][]byte) ([]kv.Entry, []error) {
	ops := make([]kv.Op, len(keys))
	for i, key := range keys {
		ops[i] = kv.Op{Verb: kv.Get, Key: key}
	}
	results := o.do(ctx, peer.ReplicaReads, ops)
	found, errs := make([]kv.Entry, len(keys)), make([]error, len(keys))
	for i, r := range results {
		found[i], errs[i] = r.Entry, r.Err
	}
	return found, errs
}

// Apply implements antientropy.Replica.
func (o *otherReplica) Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error) {
	return heldIn(o.do(ctx, peer.ReplicaWrites, appliesOf(entries)))
}

// heir is another replica that is given what this node holds no more. It must
// collect horizons.
type heir struct{ otherReplica }

// Apply implements antientropy.Replica. What the other one refuses behind its
// horizon, be it for that or for a promise, is done with as far as this node is
// concerned: the others have got all that was acknowledged when the partition moved
// to them.
func (o *heir) Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error) {
	ops := appliesOf(entries)
	results := o.do(ctx, peer.ReplicaWrites, ops)
	for i := range results {
		horizon := o.horizons[o.s.Ring.Partition(ops[i].Key)]
		if errors.Is(results[i].Err, kv.ErrConflict) && ops[i].Version.Time < horizon {
			results[i] = kv.Result{Entry: kv.Entry{Version: kv.Version{Time: horizon}}}
		}
	}
	return heldIn(results)
}

// do performs operations of a replica lane there.
func (o *otherReplica) do(ctx context.Context, lane peer.Lane, ops []kv.Op) []kv.Result {
	call := peer.Call{
		Lane: lane, Ring: o.s.Version(), Read: o.s.Read.Version(), Ops: ops, Results: make([]kv.Result, len(ops)),
	}
	client, err := o.n.peers.to(o.member)
	if err == nil {
		err = client.Do(ctx, &call)
	}
	if err != nil {
		failAll(call.Results, err)
	}
	return call.Results
}

// scanned is a page of one partition.
type scanned struct{ peer.ScanPage }

func entriesOf(page *scanned, partition int) []kv.Entry {
	out := make([]kv.Entry, 0, len(page.Entries))
	for i := range page.Entries {
		if page.Entries[i].Partition == partition {
			out = append(out, page.Entries[i].Entry)
		}
	}
	return out
}

// nextIn returns where the page of a partition is gone on, nil at its end.
func (page *scanned) nextIn(partition int) []byte {
	if page.NextPartition != partition || page.NextFrom == nil {
		return nil
	}
	return page.NextFrom
}
