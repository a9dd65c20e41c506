package kvtest

import (
	"math"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testExpired: an entry that has expired, now or long ago or in a far future,
// is like others. The tombstone that it becomes takes its place, keeps its
// expiry, and is not undone by the entry when this comes again.
func (s *suite) testExpired(t *testing.T) {
	store := s.opened(t)
	for i, expires := range []int64{1, 999, start - 1, start, 1<<53 + 1, 1<<62 + 1, math.MaxInt64} {
		k := key(i)
		e := write(k, 5)
		e.Expires = expires
		deleted := tombstone(&e)
		newer := write(k, 6)
		newer.Expires = expires
		deletedNewer := tombstone(&newer)
		var was kv.Version
		for _, step := range []struct{ offered, held kv.Entry }{
			{e, e},
			{write(k, 4), e},
			{deletion(k, 4), e},
			{deleted, deleted},
			{e, deleted},
			{write(k, 4), deleted},
			{newer, newer},
			{deleted, newer},
			{write(k, 5), newer},
			{deletedNewer, deletedNewer},
			{write(k, 7), write(k, 7)},
			{deletedNewer, write(k, 7)},
		} {
			want := kv.Applied{Held: step.held.Version, Was: was}
			if done := apply(t, store, step.offered); done[0] != want {
				t.Fatalf("%v after %s, want %v", done[0], describe(&step.offered), want)
			}
			was = want.Held
			expect(t, store, &step.held)
			s.expectListed(t, store, &step.held)
		}
	}
}

// expectListed fails the test where a scan does not visit want.
func (s *suite) expectListed(t *testing.T, store kv.Store, want *kv.Entry) {
	t.Helper()
	scanner, ok := store.(kv.Scanner)
	if !ok {
		return
	}
	found := s.scan(t, scanner, kv.Partition(want.Key, s.Partitions), want.Key, 1)
	if len(found) != 1 || !same(&found[0], want) {
		t.Fatalf("Scan from %s visited %d, want %s", shorten(want.Key), len(found), describe(want))
	}
}
