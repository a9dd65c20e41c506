package rediskv

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

// entryBytes is about what Redis takes for an entry beside its key and value:
// version, flags and content type, and what the hash needs.
const entryBytes = 130

// defaultCounting is how long Stats waits for the server.
const defaultCounting = 300 * time.Millisecond

// lastStats is what Stats answered last.
type lastStats struct {
	mu    sync.Mutex // guards stats
	stats kv.Stats
}

// Stats implements [kv.Counter]. It gives the server 300 ms; where that does not
// answer in time, it returns what it did last, or zero where it never did, for
// whoever asks for counts must not hang where the server does. Resident is an estimate, for the server does not tell what
// a namespace takes of its memory.
func (s *Store) Stats(now int64) kv.Stats {
	ctx, cancel := context.WithTimeout(context.Background(), s.counting)
	defer cancel()
	st, err := s.count(ctx, now)
	s.last.mu.Lock()
	defer s.last.mu.Unlock()
	if err == nil {
		s.last.stats = st
	}
	return s.last.stats
}

func (s *Store) count(ctx context.Context, now int64) (kv.Stats, error) {
	var st kv.Stats
	err := s.do(ctx, "count", func(ctx context.Context) error {
		answers, err := s.everyGroup(ctx, func(pipe redis.Pipeliner, group int) *redis.Cmd {
			return s.scripts.stats.EvalSha(ctx, pipe, s.layout.books(group), floorDiv(now, 1000))
		}, func(group int) *redis.Cmd {
			return s.scripts.stats.Run(ctx, s.client, s.layout.books(group), floorDiv(now, 1000))
		})
		if err != nil {
			return err
		}
		st = kv.Stats{}
		for _, answer := range answers {
			sums, err := answer.Int64Slice()
			if err != nil {
				return err
			}
			st.Entries += sums[0]
			st.Keys += sums[1]
			st.Bytes += sums[2]
		}
		return nil
	})
	st.Resident = st.Bytes + st.Entries*entryBytes
	return st, err
}

// everyGroup asks of every group at once, and alone of those whose server did
// not know the script.
func (s *Store) everyGroup(
	ctx context.Context, ask func(redis.Pipeliner, int) *redis.Cmd, alone func(int) *redis.Cmd,
) ([]*redis.Cmd, error) {
	answers := make([]*redis.Cmd, len(s.layout.groups))
	pipe := s.client.Pipeline()
	for group := range answers {
		answers[group] = ask(pipe, group)
	}
	_, _ = pipe.Exec(ctx) // each answer has its error
	for group, answer := range answers {
		if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
			answers[group] = alone(group)
		}
		if err := answers[group].Err(); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// floorDiv returns a divided by b, rounded down.
func floorDiv(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}
