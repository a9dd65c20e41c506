package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
	"github.com/thunderdb/thunderdb/node/topology"
)

// A listing asks every member for all that it holds of the next partitions,
// and keeps of each key the newest entry, if it is live. So it needs not know
// who holds what: owners, former owners and, one day, replicas count alike.
//
// A page costs a bounded effort however few keys it returns: a listing with a
// rare prefix gives short pages.
const (
	scanMin    = 128     // entries asked of a member at least
	scanMax    = 10_000  // entries asked of a member at most
	scanBytes  = 4 << 20 // bytes asked of a member
	listRounds = 4       // scans of every member for one page
)

// place is where a listing stands: before the first key, in the order of
// (partition, key), that is not below it.
type place struct {
	partition int
	key       []byte
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.partition, b.partition), bytes.Compare(a.key, b.key))
}

// cursor returns the text of a place, good on any node.
func (a place) cursor() string {
	raw := binary.AppendUvarint(nil, uint64(a.partition))
	return base64.RawURLEncoding.EncodeToString(append(raw, a.key...))
}

func parseCursor(text string, partitions int) (place, error) {
	if text == "" {
		return place{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return place{}, fmt.Errorf("%q: %w", text, ErrBadCursor)
	}
	p, n := binary.Uvarint(raw)
	if n <= 0 || p > uint64(partitions) {
		return place{}, fmt.Errorf("%q: %w", text, ErrBadCursor)
	}
	return place{partition: int(p), key: raw[n:]}, nil
}

// List returns a page of the cluster's live keys. Its errors are ErrBadCursor,
// kv.ErrNoScan, ErrNotReady, and peer.ErrUnavailable where a member that may
// hold keys does not answer: a listing never leaves keys out silently.
func (n *Node) List(ctx context.Context, req ListRequest) (Page, error) {
	s := n.keeper.State()
	if s == nil || s.Self < 0 { // whoever is no member does not hear of changes in time
		return Page{}, n.Ready()
	}
	at, err := parseCursor(req.Cursor, s.Ring.Partitions())
	if err != nil {
		return Page{}, err
	}
	end := place{partition: s.Ring.Partitions()}
	now := n.clock.Now()
	var page Page
	size := 0
	for range listRounds {
		if len(page.Entries) >= req.Limit || size >= scanBytes || at.compare(end) >= 0 {
			break
		}
		found, next, err := n.scanMembers(ctx, s, at, req, req.Limit-len(page.Entries))
		if err != nil {
			return Page{}, err
		}
		at = next
		for _, e := range newestOf(found, next) {
			if !e.Live(now) {
				continue
			}
			if len(page.Entries) == req.Limit {
				at = place{e.Partition, e.Key}
				break
			}
			page.Entries = append(page.Entries, Listed{Entry: e.Entry, Size: e.Size})
			size += len(e.Value)
		}
	}
	page.Complete = at.compare(end) >= 0
	if !page.Complete {
		page.Cursor = at.cursor()
	}
	return page, nil
}

// scanMembers asks all members for about want entries from a place on. It
// returns what they hold, and the place up to which all of them have told.
func (n *Node) scanMembers(
	ctx context.Context, s *topology.State, from place, req ListRequest, want int,
) ([]peer.ScanEntry, place, error) {
	members := s.Ring.Members()
	ask := peer.ScanRequest{
		Partition: from.partition, From: from.key, Until: s.Ring.Partitions(),
		Prefix: req.Prefix, Values: req.Values, Bytes: scanBytes,
		Limit: min(scanMax, max(scanMin, 5*want/(4*len(members)))),
	}
	if len(req.Prefix) > 0 {
		ask.Limit = scanMax // most entries will not have it
	}
	pages := make([]peer.ScanPage, len(members))
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { pages[i], errs[i] = n.scanMember(ctx, m.Name, ask) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, place{}, err
	}
	var found []peer.ScanEntry
	told := place{partition: s.Ring.Partitions()}
	for _, page := range pages {
		found = append(found, page.Entries...)
		if next := (place{page.NextPartition, page.NextFrom}); next.compare(told) < 0 {
			told = next
		}
	}
	return found, told, nil
}

func (n *Node) scanMember(ctx context.Context, name string, req peer.ScanRequest) (peer.ScanPage, error) {
	if name == n.cfg.Name {
		return n.Scan(ctx, req)
	}
	client, err := n.peers.client(name)
	if err != nil {
		return peer.ScanPage{}, fmt.Errorf("list keys: %w", err)
	}
	page, err := client.Scan(ctx, req)
	if err != nil {
		return peer.ScanPage{}, fmt.Errorf("list the keys of %s: %w", name, err)
	}
	return page, nil
}

// newestOf sorts entries by (partition, key), and keeps of each key that lies
// before limit the one that supersedes the others.
func newestOf(entries []peer.ScanEntry, limit place) []peer.ScanEntry {
	slices.SortFunc(entries, func(a, b peer.ScanEntry) int {
		return place{a.Partition, a.Key}.compare(place{b.Partition, b.Key})
	})
	kept := entries[:0]
	for _, e := range entries {
		if (place{e.Partition, e.Key}).compare(limit) >= 0 {
			break
		}
		if last := len(kept) - 1; last >= 0 && bytes.Equal(kept[last].Key, e.Key) {
			if e.Supersedes(&kept[last].Entry) {
				kept[last] = e
			}
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// Snapshot calls visit for each live entry that this node's store holds of the
// partitions it owns, until it returns false. The entry is valid during visit
// only. What the store still holds of partitions that moved away is left out:
// their owners may have replaced or deleted it.
func (n *Node) Snapshot(ctx context.Context, visit func(*kv.Entry) bool) error {
	scanner, ok := n.store.(kv.Scanner)
	if !ok {
		return kv.ErrNoScan
	}
	s := n.keeper.State()
	if s == nil {
		return n.Ready()
	}
	more := true
	for p := 0; p < s.Ring.Partitions() && more; p++ {
		if s.Owner(p) != s.Self {
			continue
		}
		err := scanner.Scan(ctx, p, nil, func(e *kv.Entry) bool {
			if e.Live(n.clock.Now()) {
				more = visit(e)
			}
			return more
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
