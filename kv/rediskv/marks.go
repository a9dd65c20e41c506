package rediskv

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// checkMarks looks for a mark in each group, and leaves one where there is
// none. Where a mark is gone from a namespace that has been used, a node of the
// Cluster has lost its entries: metadata, which are kept by one node and speak
// for all, are dropped with them.
func (s *Store) checkMarks(ctx context.Context, used bool) error {
	if !s.target.cluster() {
		return nil // the format is lost together with the entries
	}
	mark := func(group int) []string { return []string{s.layout.groups[group] + "mark"} }
	answers, err := s.everyGroup(ctx, func(pipe redis.Pipeliner, group int) *redis.Cmd {
		return s.scripts.mark.EvalSha(ctx, pipe, mark(group))
	}, func(group int) *redis.Cmd {
		return s.scripts.mark.Run(ctx, s.client, mark(group))
	})
	if err != nil {
		return err
	}
	fresh := 0
	for _, answer := range answers {
		if answer.Val() == int64(1) {
			fresh++
		}
	}
	if !used || fresh == 0 {
		return nil
	}
	s.log.Error("redis has lost some entries of this node, as a restart of one of its servers without persistence does; "+
		"its metadata are dropped as well, so the node will be a new one when it is restarted",
		"redis", s.target.String(), "lost", fresh, "of", len(answers))
	return s.client.Del(ctx, s.layout.root+"meta").Err()
}
