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
	"github.com/thunderdb/thunderdb/node/quorum"
	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

// A listing asks every member for all that it holds of the next partitions,
// and keeps of each key the newest entry, if it is live. Where members do not
// answer, a majority of each partition's replicas has to.
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
	for attempt := 0; ; attempt++ {
		page, err := n.page(ctx, req)
		var stale *refused
		if !errors.As(err, &stale) || attempt == maxRefused {
			return page, giveUp(err)
		}
		if err := n.learnFrom(ctx, stale.by); err != nil {
			return Page{}, fmt.Errorf("refresh the ring: %w: %s", peer.ErrUnavailable, err.Error())
		}
	}
}

// page is List under the ring that is known now.
func (n *Node) page(ctx context.Context, req ListRequest) (Page, error) {
	s := n.keeper.State()
	if s == nil {
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
// returns what they hold, and the place up to which all who answered have told.
func (n *Node) scanMembers(
	ctx context.Context, s *topology.State, from place, req ListRequest, want int,
) ([]peer.ScanEntry, place, error) {
	members := s.Read.Members()
	ask := peer.ScanRequest{
		Ring: s.Version(), Read: s.Read.Version(),
		Partition: from.partition, From: from.key, Until: s.Ring.Partitions(),
		Prefix: req.Prefix, Values: req.Values, Bytes: scanBytes,
		Limit: min(scanMax, max(scanMin, 5*want/4)),
	}
	if len(req.Prefix) > 0 {
		ask.Limit = scanMax // most entries will not have it
	}
	pages := make([]peer.ScanPage, len(members))
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { pages[i], errs[i] = n.scanMember(ctx, &members[i], ask) })
	}
	wg.Wait()
	told := place{partition: s.Ring.Partitions()}
	for i, page := range pages {
		var stale *refused
		if next := (place{page.NextPartition, page.NextFrom}); errs[i] == nil && next.compare(told) < 0 {
			told = next
		}
		if errors.As(errs[i], &stale) || errors.Is(errs[i], kv.ErrNoScan) {
			return nil, place{}, errs[i]
		}
	}
	if err := enough(s, from.partition, told, errs); err != nil {
		return nil, place{}, err
	}
	var found []peer.ScanEntry
	for i, page := range pages {
		for _, e := range page.Entries { // what it holds of others' partitions is out of date
			if slices.Contains(s.Read.Replicas(e.Partition), i) {
				found = append(found, e)
			}
		}
	}
	return found, told, nil
}

// enough returns an error unless of each partition from one up to a place a
// majority of the replicas has answered.
func enough(s *topology.State, from int, told place, errs []error) error {
	if errors.Join(errs...) == nil {
		return nil
	}
	for p := from; p <= min(told.partition, s.Ring.Partitions()-1); p++ {
		replicas := s.Read.Replicas(p)
		answered := 0
		for _, at := range replicas {
			if errs[at] == nil {
				answered++
			}
		}
		if answered < quorum.Majority(len(replicas)) {
			return errors.Join(errs...)
		}
	}
	return nil
}

func (n *Node) scanMember(ctx context.Context, m *ring.Member, req peer.ScanRequest) (peer.ScanPage, error) {
	var page peer.ScanPage
	var err error
	if m.Storage == n.id {
		page, err = n.Scan(ctx, req)
	} else {
		var client *peer.Client
		if client, err = n.peers.to(m); err == nil {
			page, err = client.Scan(ctx, req)
		}
	}
	if errors.Is(err, peer.ErrStale) {
		return page, &refused{by: m.Name, err: err}
	}
	if err != nil {
		return page, fmt.Errorf("list the keys of %s: %w", m.Name, err)
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
// partitions it is a replica of, until it returns false. The entry is valid
// during visit only. What the store still holds of partitions that moved away is
// left out: their replicas may have replaced or deleted it.
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
		if !n.coordinates(s, p) {
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
