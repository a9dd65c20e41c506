package node

import (
	"errors"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/peer"
)

// What one of two holders says counts only where the other is known too.
func TestNewer(t *testing.T) {
	t.Parallel()
	none := kv.ErrNotFound
	old, fresh := kv.Entry{Version: kv.Version{Time: 1}}, kv.Entry{Version: kv.Version{Time: 2}}
	for _, tt := range []struct {
		name         string
		mine, theirs kv.Entry
		err, terr    error
		want         kv.Version
		wantErr      error
	}{
		{"mine alone", old, kv.Entry{}, nil, none, old.Version, nil},
		{"theirs alone", kv.Entry{}, old, none, nil, old.Version, nil},
		{"mine is newer", fresh, old, nil, nil, fresh.Version, nil},
		{"theirs is newer", old, fresh, nil, nil, fresh.Version, nil},
		{"nobody has any", kv.Entry{}, kv.Entry{}, none, none, kv.Version{}, none},
		{"they do not answer", old, kv.Entry{}, nil, peer.ErrUnavailable, old.Version, peer.ErrUnavailable},
		{"my store does not", kv.Entry{}, fresh, kv.ErrUnavailable, nil, kv.Version{}, kv.ErrUnavailable},
		{"my store is corrupt", kv.Entry{}, fresh, kv.ErrCorrupt, peer.ErrUnavailable, kv.Version{}, kv.ErrCorrupt},
	} {
		got, err := newer(tt.mine, tt.err, tt.theirs, tt.terr)
		if !errors.Is(err, tt.wantErr) || got.Version != tt.want {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, got.Version, err, tt.want, tt.wantErr)
		}
	}
}
