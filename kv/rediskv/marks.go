package rediskv

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// takeMarks leaves a mark in each group. Where one is gone from a namespace that
// has been used, a node of the Cluster has lost its entries: metadata, which are
// kept by one node and speak for all, are dropped first.
func (s *Store) takeMarks(ctx context.Context, used bool) error {
	if !s.target.cluster() {
		return nil // the beat is lost together with the entries
	}
	s.lease.marks = make([]int64, len(s.layout.groups))
	if used {
		lost, err := s.countMarks(ctx, 1)
		if err != nil {
			return err
		}
		if lost > 0 {
			s.log.Error("redis has lost some entries of this node, as a restart of one of its servers without persistence does; "+
				"its metadata are dropped as well, so the node is a new one",
				"redis", s.target.String(), "lost", lost, "of", len(s.layout.groups))
			if err := s.client.Del(ctx, s.layout.root+"meta").Err(); err != nil {
				return err
			}
		}
	}
	_, err := s.countMarks(ctx, 0)
	return err
}

// checkMarks looks whether the marks are as they were, or newer. Where one is
// not, the error is a *lossError.
func (s *Store) checkMarks(ctx context.Context) error {
	if !s.target.cluster() {
		return nil
	}
	lost, err := s.countMarks(ctx, 1)
	if err == nil && lost > 0 {
		err = &lossError{fmt.Sprintf("some entries of this node (%d groups of %d) are gone or as they were some time ago, "+
			"as after a restart of one server without persistence", lost, len(s.layout.groups))}
	}
	return err
}

// countMarks counts up the marks, except those that say less than they did, or
// less than least, and returns how many these are.
func (s *Store) countMarks(ctx context.Context, least int64) (lost int, err error) {
	l := &s.lease
	mark := func(group int) []string { return []string{s.layout.groups[group] + "mark"} }
	answers, err := s.everyGroup(ctx, func(pipe redis.Pipeliner, group int) *redis.Cmd {
		return s.scripts.mark.EvalSha(ctx, pipe, mark(group), max(least, l.marks[group]))
	}, func(group int) *redis.Cmd {
		return s.scripts.mark.Run(ctx, s.client, mark(group), max(least, l.marks[group]))
	})
	if err != nil {
		return 0, err
	}
	for group, answer := range answers {
		n, err := answer.Int64()
		switch {
		case err != nil:
			return 0, err
		case n == 0:
			lost++
		default:
			l.marks[group] = n
		}
	}
	return lost, nil
}
