package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/thunderdb/thunderdb/node/topology"
	"github.com/thunderdb/thunderdb/ring"
)

func TestChooseSources(t *testing.T) {
	t.Parallel()
	group := func(need int, storages ...uint64) topology.Group {
		g := topology.Group{Need: need}
		for _, s := range storages {
			g.Members = append(g.Members, ring.Member{Storage: s})
		}
		return g
	}
	for name, c := range map[string]struct {
		groups   []topology.Group
		compared []uint64
		failed   []uint64
		want     []uint64
		stuck    bool
	}{
		"as many as are needed":          {groups: []topology.Group{group(2, 1, 2, 3)}, want: []uint64{1, 2}},
		"one serves two versions":        {groups: []topology.Group{group(1, 1, 2), group(2, 2, 1)}, want: []uint64{1, 2}},
		"what was compared counts":       {groups: []topology.Group{group(2, 1, 2, 3)}, compared: []uint64{1}, want: []uint64{2}},
		"another one for who has failed": {groups: []topology.Group{group(2, 1, 2, 3)}, failed: []uint64{1}, want: []uint64{2, 3}},
		"nothing is left to do":          {groups: []topology.Group{group(1, 1, 2)}, compared: []uint64{2}},
		"too few are left": {
			groups: []topology.Group{group(2, 1, 2)}, failed: []uint64{1}, want: []uint64{2}, stuck: true,
		},
	} {
		compared, failed := map[uint64]bool{}, map[uint64]error{}
		for _, id := range c.compared {
			compared[id] = true
		}
		for _, id := range c.failed {
			failed[id] = errors.New("away")
		}
		next, stuck := choose(&topology.Task{Groups: c.groups}, compared, failed)
		var got []uint64
		for _, m := range next {
			got = append(got, m.Storage)
		}
		if !slices.Equal(got, c.want) || (stuck != nil) != c.stuck {
			t.Errorf("%s: chose %v, stuck %t, want %v, %t", name, got, stuck != nil, c.want, c.stuck)
		}
	}
}
