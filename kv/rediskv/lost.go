package rediskv

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

// A server may lose what it held under a running process. Whoever uses the store
// has told others what it holds; so it must not answer as if the lost had never
// been there, nor go on as the one that held it:
//
//   - Each renewal of the lease counts up the namespace's beat, and each group's
//     mark in a Cluster. One that is gone, or that is lower than it was, was lost.
//   - What came over a connection that is new, as they all are after a restart, is
//     believed once the lease was renewed after that.
//   - A server may also be emptied with its connections left alone. Therefore
//     scripts write nothing where the guard of their group is gone; hence what is
//     lost stays missing, and of what is missing a read looks for the guard as
//     well.
//   - Where something is lost, the metadata are dropped, and the store is of no
//     use any more.

// lossError says what the server has lost.
type lossError struct{ what string }

func (e *lossError) Error() string { return e.what }

// Lost implements [kv.Mortal].
func (s *Store) Lost() <-chan struct{} { return s.gone }

// lose makes the store unusable for good, gives its lease back, and returns what
// calls return from now on. Its caller has the turn to renew.
func (s *Store) lose(ctx context.Context, loss *lossError) error {
	lost := fmt.Errorf("%w: %w", kv.ErrLost, loss)
	s.lease.lost.Store(&lost)
	s.lease.doubt()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	s.log.Error("redis has lost what it held; this store stays unusable", "redis", s.target.String(), "lost", loss.what)
	keys := []string{s.layout.root + "lease", s.layout.root + "meta"} // of one slot
	if err := s.scripts.drop.Run(ctx, s.client, keys, s.lease.holder).Err(); err != nil {
		s.log.Warn("dropping the metadata of a namespace that was lost in redis", "redis", s.target.String(), "error", err)
	}
	close(s.gone)
	return lost
}

// guard returns the name of what is there as long as a group has lost nothing:
// the lease, or, in a Cluster, where that is not of the group's slot, its mark.
func (s *Store) guard(group int) string {
	if s.target.cluster() {
		return s.layout.groups[group] + "mark"
	}
	return s.layout.root + "lease"
}

// fencer returns what fence takes as what the guard must say, for scripts that
// write entries.
func (s *Store) fencer() string {
	if s.target.cluster() {
		return ""
	}
	return s.lease.holder
}

// guarded returns nil where a guard's answer says that nothing is lost, and else
// an error that has the lease renewed.
func (s *Store) guarded(answer *redis.StringCmd) error {
	said, err := answer.Result()
	if errors.Is(err, redis.Nil) || err == nil && s.fencer() != "" && said != s.fencer() {
		return errUnguarded
	}
	return err
}

// missing returns redis.Nil, for what was just found missing in a group, where
// that was not lost.
func (s *Store) missing(ctx context.Context, group int) error {
	if err := s.guarded(s.client.Get(ctx, s.guard(group))); err != nil {
		return err
	}
	return redis.Nil
}
