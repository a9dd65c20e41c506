package memcachekv

import (
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, servers := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addrs := sharedServers(t, servers)
			kvtest.Config{
				MaxValue: open(t, Options{}, addrs...).MaxValue(),
				Slow:     true,
				Reopen: func(t *testing.T, store kv.Store) kv.Store {
					t.Helper()
					if err := store.Close(); err != nil {
						t.Error(err)
					}
					return open(t, Options{Namespace: store.(*Store).opts.Namespace}, addrs...)
				},
			}.Run(t, func(t *testing.T) kv.Store {
				t.Helper()
				return open(t, Options{}, addrs...)
			})
		})
	}
}
