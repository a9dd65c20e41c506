package rediskv

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

// getWindow is how many keys are asked for at once.
const getWindow = 512

// GetBatch implements [kv.BatchGetter]. It asks for so many keys at a time, and
// once some of those got no answer, not for the rest: they have that error as
// well, also where another node of a Cluster would know them.
func (s *Store) GetBatch(ctx context.Context, keys [][]byte, found []kv.Entry, errs []error) {
	for len(keys) > 0 {
		n := min(len(keys), getWindow)
		err := s.getWindow(ctx, keys[:n], found[:n], errs[:n])
		keys, found, errs = keys[n:], found[n:], errs[n:]
		if err != nil {
			for i := range keys {
				found[i], errs[i] = kv.Entry{}, err
			}
			return
		}
	}
}

// getWindow asks for all keys at once, and again for those that are worth it.
// It returns the error of those that it got no answer for.
func (s *Store) getWindow(ctx context.Context, keys [][]byte, found []kv.Entry, errs []error) error {
	answers := make([]*redis.StringCmd, len(keys))
	err := s.do(ctx, "get", func(ctx context.Context) error {
		pipe := s.client.Pipeline()
		for i, key := range keys {
			if answers[i] == nil || passes(answers[i].Err()) {
				partition, _ := s.layout.place(key)
				answers[i] = pipe.HGet(ctx, s.layout.hash(partition), string(key))
			}
		}
		_, _ = pipe.Exec(ctx) // each answer has its error
		for _, answer := range answers {
			if err := answer.Err(); passes(err) {
				return err
			}
		}
		return s.checkMissing(ctx, keys, answers)
	})
	believed := err == nil || s.lease.sure()
	for i, answer := range answers {
		found[i], errs[i] = kv.Entry{}, err
		if answer == nil || !believed || err != nil && errors.Is(answer.Err(), redis.Nil) {
			continue // never asked, or what it says may be for what was lost
		}
		data, failed := answer.Bytes()
		if errs[i] = s.explain("get", failed); errs[i] != nil {
			continue
		}
		if found[i], errs[i] = kv.ParseEntry(data); errs[i] == nil {
			found[i].Key = keys[i]
		}
	}
	return err
}

// checkMissing returns an error where any of keys that were not found may be
// lost. Then all are to be asked for again.
func (s *Store) checkMissing(ctx context.Context, keys [][]byte, answers []*redis.StringCmd) error {
	guards := make(map[string]*redis.StringCmd)
	pipe := s.client.Pipeline()
	for i, answer := range answers {
		if !errors.Is(answer.Err(), redis.Nil) {
			continue
		}
		_, group := s.layout.place(keys[i])
		if name := s.guard(group); guards[name] == nil {
			guards[name] = pipe.Get(ctx, name)
		}
	}
	if len(guards) == 0 {
		return nil
	}
	_, _ = pipe.Exec(ctx) // each answer has its error
	for _, guard := range guards {
		if err := s.guarded(guard); err != nil {
			clear(answers)
			return err
		}
	}
	return nil
}
