package node

import (
	"bytes"
	"context"
	"slices"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// Scan returns what this node's store holds of a range of partitions,
// tombstones and expired entries included. Its errors are peer.ErrStale for
// whoever does not know the newest ring, kv.ErrNoScan, and the store's.
func (n *Node) Scan(ctx context.Context, req peer.ScanRequest) (peer.ScanPage, error) {
	s, err := n.share.open(ctx, req.Ring, req.Read, req.Compare)
	if err != nil {
		return peer.ScanPage{}, err
	}
	defer s.Release()
	page, err := n.share.scan(ctx, req)
	return page.ScanPage, err
}

// scan is Scan for whoever was admitted.
func (h *share) scan(ctx context.Context, req peer.ScanRequest) (scanned, error) {
	scanner, ok := h.store.(kv.Scanner)
	if !ok {
		return scanned{}, kv.ErrNoScan
	}
	c := collector{req: req}
	from := req.From
	for p := req.Partition; p < req.Until; p++ {
		if err := ctx.Err(); err != nil {
			return scanned{}, err
		}
		if err := scanner.Scan(ctx, p, from, func(e *kv.Entry) bool { return c.visit(p, e) }); err != nil {
			return scanned{}, err
		}
		if c.full {
			return scanned{c.page}, nil
		}
		from = nil
	}
	c.page.NextPartition, c.page.NextFrom = req.Until, nil
	return scanned{c.page}, nil
}

// collector fills the answer to a scan request.
type collector struct {
	req      peer.ScanRequest
	page     peer.ScanPage
	examined int
	bytes    int
	full     bool
}

// visit takes an entry into the page, or ends it before that entry.
func (c *collector) visit(partition int, e *kv.Entry) bool {
	size := len(e.Key) + entryOverhead
	if c.req.Values {
		size += len(e.Value)
	}
	if c.examined >= c.req.Limit || c.bytes > 0 && c.bytes+size > c.req.Bytes {
		c.full = true
		c.page.NextPartition, c.page.NextFrom = partition, slices.Clone(e.Key)
		return false
	}
	c.examined++
	if !bytes.HasPrefix(e.Key, c.req.Prefix) {
		return true
	}
	c.bytes += size
	taken := peer.ScanEntry{Entry: *e, Partition: partition, Size: len(e.Value)}
	taken.Key = slices.Clone(e.Key)
	taken.Value = nil
	if c.req.Values {
		taken.Value = append([]byte{}, e.Value...)
	}
	c.page.Entries = append(c.page.Entries, taken)
	return true
}

// entryOverhead is about what an entry takes on the wire beside its key and
// value, in bytes.
const entryOverhead = 40
