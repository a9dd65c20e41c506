package rediskv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// tries is how often a call is tried: with the pauses between, a server
	// that refuses connections is given a third of a second.
	tries = 6
	// firstPause is the pause before the second try. Each is twice the last.
	firstPause = 10 * time.Millisecond
)

// retry calls op until it succeeds, it fails with what does not pass, or it has
// been tried often enough. It returns op's last error.
func (s *Store) retry(ctx context.Context, op func(context.Context) error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := op(ctx)
		if err == nil || try == tries || !passes(err) || !wait(ctx, jitter(pause)) {
			return err
		}
		pause *= 2
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// wait waits for d, and reports whether ctx goes on until then and after.
func wait(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// passing is how the errors begin with which a server says that it cannot do
// now what it was asked to.
var passing = [...]string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS",
	"MOVED", "ASK", "BUSY", "MISCONF", "LEASE", "max number of clients reached",
}

// errUnguarded is why an answer is not believed: the guard that must be there
// with the entries is not.
var errUnguarded = errors.New("the claim on the namespace is not there")

// passes reports whether it may help to try again.
func passes(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return errors.Is(err, errUnguarded) || isNetwork(err)
	}
	for _, prefix := range passing {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// isNetwork reports whether a connection failed, rather than what came over it.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted)
}

// explain makes of a client's error one that stores return.
func (s *Store) explain(operation string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return kv.ErrNotFound
	case errors.Is(err, kv.ErrFull) || errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrCorrupt):
		return fmt.Errorf("%s in redis at %s: %w", operation, s.target, err)
	case redis.IsOOMError(err):
		return fmt.Errorf("%s in redis at %s: %w: %w", operation, s.target, kv.ErrFull, err)
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return fmt.Errorf("%s in redis at %s: %w: %w", operation, s.target, kv.ErrCorrupt, err)
	}
	return fmt.Errorf("%s in redis at %s: %w: %w", operation, s.target, kv.ErrUnavailable, err)
}
