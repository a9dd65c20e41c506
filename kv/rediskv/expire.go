package rediskv

import (
	"context"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
)

// sweepEntries is how many entries one call of the script turns into
// tombstones at most.
const sweepEntries = 256

// sweeper is how far Expire has come.
type sweeper struct {
	mu    sync.Mutex // serialises Expire, guards group
	group int
}

// Expire implements [kv.Expirer]. It examines only what has expired: the
// server lists that by expiry. One call goes once round the groups at most.
func (s *Store) Expire(ctx context.Context, now int64, budget int) (int, error) {
	s.sweep.mu.Lock()
	defer s.sweep.mu.Unlock()
	due, err := s.due(ctx, now)
	if err != nil {
		return 0, err
	}
	swept := 0
	for range due {
		for due[s.sweep.group] > 0 && budget > 0 {
			n, err := s.sweepSome(ctx, s.sweep.group, now, min(budget, sweepEntries), &swept)
			if err != nil {
				return swept, err
			}
			budget -= n
			due[s.sweep.group] -= int64(n)
			if n == 0 {
				break // somebody else was faster
			}
		}
		if budget <= 0 {
			break
		}
		s.sweep.group = (s.sweep.group + 1) % len(due)
	}
	return swept, nil
}

// due returns how many entries of each group have expired.
func (s *Store) due(ctx context.Context, now int64) ([]int64, error) {
	due := make([]int64, len(s.layout.groups))
	err := s.do(ctx, "expire", func(ctx context.Context) error {
		answers := make([]*redis.IntCmd, len(due))
		pipe := s.client.Pipeline()
		for group := range answers {
			answers[group] = pipe.ZCount(ctx, s.layout.groups[group]+"expiry", "-inf", strconv.FormatInt(now, 10))
		}
		_, err := pipe.Exec(ctx)
		for group, answer := range answers {
			due[group] = answer.Val()
		}
		return err
	})
	return due, err
}

// sweepSome turns at most limit expired entries of a group into tombstones,
// returns how many it looked at, and adds to swept how many they were.
func (s *Store) sweepSome(ctx context.Context, group int, now int64, limit int, swept *int) (int, error) {
	var keys []string
	err := s.do(ctx, "expire", func(ctx context.Context) (err error) {
		keys, err = s.client.ZRangeByScore(ctx, s.layout.groups[group]+"expiry", &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(now, 10), Count: int64(limit),
		}).Result()
		return err
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	names, args := s.layout.books(group), []any{s.fencer(), now}
	for _, key := range keys {
		partition, _ := s.layout.place([]byte(key))
		names, args = append(names, s.layout.hash(partition)), append(args, key)
	}
	names = append(names, s.guard(group))
	err = s.do(ctx, "expire", func(ctx context.Context) error {
		n, err := s.scripts.sweep.Run(ctx, s.client, names, args...).Int()
		*swept += n
		return err
	})
	return len(keys), err
}
