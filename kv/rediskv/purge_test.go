package rediskv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// TestScanPurged: a scan goes on over what is purged before it comes there, and
// still fails where the server loses entries besides.
func TestScanPurged(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	for name, url := range map[string]string{"server": server.url(), "cluster": commonCluster(t)} {
		s := open(t, url, Options{Partitions: 1})
		var entries []kv.Entry
		var refs []kv.Ref
		for i := range 6 * firstPage {
			e := kv.Entry{Key: fmt.Appendf(nil, "%03d", i), Version: at(1)}
			entries, refs = append(entries, e), append(refs, kv.Ref{Key: e.Key, Version: e.Version})
		}
		put(t, s, entries...)
		gone := refs[firstPage+5 : 4*firstPage]
		var visited []string
		err := s.Scan(context.Background(), 0, nil, func(e *kv.Entry) bool {
			if len(visited) == 0 {
				if err := s.Purge(context.Background(), gone, nil); err != nil {
					t.Error(err)
				}
			}
			visited = append(visited, string(e.Key))
			return true
		})
		var want []string
		for _, ref := range slices.Concat(refs[:firstPage+5], refs[4*firstPage:]) {
			want = append(want, string(ref.Key))
		}
		if err != nil || !slices.Equal(visited, want) {
			t.Errorf("%s: Scan visited %s, %v, want %s", name, visited, err, want)
		}
		if name == "cluster" {
			continue
		}
		purged := false
		err = s.Scan(context.Background(), 0, nil, func(*kv.Entry) bool {
			if !purged {
				purged = true
				server.command(t, "FLUSHALL")
				if err := s.Purge(context.Background(), refs, nil); !errors.Is(err, kv.ErrLost) {
					t.Errorf("Purge in a server that has lost its entries: %v", err)
				}
			}
			return true
		})
		if !errors.Is(err, kv.ErrLost) {
			t.Errorf("Scan in a server that has lost its entries: %v", err)
		}
	}
}

// TestPurgePieces purges entries of many pieces and groups at once.
func TestPurgePieces(t *testing.T) {
	t.Parallel()
	for _, url := range []string{commonServer(t).url(), commonCluster(t)} {
		s := open(t, url, Options{})
		var entries []kv.Entry
		var refs []kv.Ref
		for i := range 2000 {
			e := kv.Entry{Key: fmt.Append(nil, i), Value: []byte("v"), Version: at(i)}
			ref := kv.Ref{Key: e.Key, Version: e.Version}
			if i%3 == 0 {
				ref.Version = at(i + 1)
			}
			entries, refs = append(entries, e), append(refs, ref)
		}
		put(t, s, entries...)
		purged := make([]bool, len(refs))
		if err := s.Purge(context.Background(), refs, purged); err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			_, err := s.Get(context.Background(), entries[i].Key, nil)
			if gone := errors.Is(err, kv.ErrNotFound); gone != (i%3 != 0) || purged[i] != gone {
				t.Fatalf("purged[%d] is %v, and Get: %v", i, purged[i], err)
			}
		}
		if st := s.Stats(0); st.Entries != 667 || st.Keys != 667 {
			t.Errorf("Stats are %+v", st)
		}
	}
}
