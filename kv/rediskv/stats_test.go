package rediskv

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/thunderdb/thunderdb/kv"
)

// TestStatsFarAhead: entries are counted right however far from now they
// expire, and whatever became of them since.
func TestStatsFarAhead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := commonServer(t).url()
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t, url, Options{})
		defer s.Close()
		base := rapid.SampledFrom([]int64{1_700_000_000, 1 << 20, 0, -5000}).Draw(rt, "base")
		near := rapid.OneOf(
			rapid.SampledFrom([]int64{-1, 0, 1, 30, 31, 32, 33, 63, 64, 1000, 1022, 1023, 1024, 1025, 2047, 2048, 100_000, 1 << 30}),
			rapid.Int64Range(-2100, 2100))
		model := map[string]kv.Entry{}
		for n := range rapid.IntRange(1, 3).Draw(rt, "batches") {
			batch := make([]kv.Entry, rapid.IntRange(1, 40).Draw(rt, "entries"))
			for i := range batch {
				batch[i] = kv.Entry{
					Key: fmt.Appendf(nil, "k%d", i), Version: at(n), Value: make([]byte, rapid.IntRange(0, 200).Draw(rt, "size")),
					Expires:     1000*(base+near.Draw(rt, "second")) + rapid.Int64Range(-1, 1).Draw(rt, "ms"),
					ContentType: rapid.SampledFrom([]string{"", "text/plain", string(make([]byte, 127)), string(make([]byte, 300))}).Draw(rt, "type"),
				}
				model[string(batch[i].Key)] = batch[i]
			}
			put(t, s, batch...)
		}
		for range 20 {
			now := 1000 * (base + near.Draw(rt, "now"))
			got, err := s.count(ctx, now)
			want := kv.Stats{Resident: got.Resident}
			due := 0
			for _, e := range model {
				want.Entries++
				if e.Live(now) {
					want.Keys++
					want.Bytes += int64(len(e.Key) + len(e.Value))
				} else if !e.Deleted {
					due++
				}
			}
			if err != nil || got != want {
				rt.Fatalf("Stats(%d) = %+v, %v, want %+v", now, got, err, want)
			}
			if rapid.IntRange(0, 9).Draw(rt, "sweep") == 0 {
				if n, err := s.Expire(ctx, now, 1000); err != nil || n != due {
					rt.Fatalf("Expire(%d) = %d, %v, want %d", now, n, err, due)
				}
				for k, e := range model {
					if !e.Live(now) {
						model[k] = kv.Entry{Deleted: true}
					}
				}
			}
		}
	})
}

// TestSweepLate: a sweep leaves alone what is not as it was when it was listed.
func TestSweepLate(t *testing.T) {
	t.Parallel()
	s := open(t, commonServer(t).url(), Options{})
	ctx := context.Background()
	put(t, s,
		kv.Entry{Key: []byte("expired"), Version: at(1), Expires: 1000},
		kv.Entry{Key: []byte("expires"), Version: at(1), Expires: 3000},
		kv.Entry{Key: []byte("lasts"), Version: at(1)},
		kv.Entry{Key: []byte("deleted"), Version: at(1), Deleted: true, Expires: 1000})
	keys, args := s.layout.books(0), []any{"", 2000}
	for _, key := range []string{"expired", "expires", "lasts", "deleted", "none"} {
		partition, _ := s.layout.place([]byte(key))
		keys, args = append(keys, s.layout.hash(partition)), append(args, key)
	}
	args[0], keys = s.fencer(), append(keys, s.guard(0))
	if n, err := s.scripts.sweep.Run(ctx, s.client, keys, args...).Int(); n != 1 || err != nil {
		t.Errorf("it swept %d, %v", n, err)
	}
	if got := s.Stats(2000); got.Keys != 2 || got.Entries != 4 {
		t.Errorf("Stats = %+v", got)
	}
	if n, err := s.Expire(ctx, 3000, 10); n != 1 || err != nil {
		t.Errorf("Expire = %d, %v", n, err)
	}
}
