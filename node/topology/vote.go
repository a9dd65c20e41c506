package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/thunderdb/thunderdb/ring"
)

// errOvertaken is returned where another record was decided, or may be.
var errOvertaken = errors.New("another change of the ring came first")

// voteQuestion is what an acceptor is asked. It says what the proposer knows,
// so that both are about the same version.
type voteQuestion struct {
	Knowledge
	Version uint64       `json:"version"`
	Ballot  Ballot       `json:"ballot"`
	Record  *ring.Record `json:"record,omitempty"` // to be accepted
}

// voteAnswer is its answer. Where it knows the version, that is among the
// records, and it does not vote.
type voteAnswer struct {
	Knowledge
	Vote vote `json:"vote"`
}

// propose has the record that follows the newest version decided. Its error is
// errOvertaken where that is another one, or may become another one, and
// ErrTooFew where a majority of the members does not answer.
func (k *Keeper) propose(ctx context.Context, s *State, record ring.Record) error {
	if err := acquire(ctx, k.proposing); err != nil {
		return err
	}
	defer func() { <-k.proposing }()
	p, err := k.beginVote(ctx, s, &record)
	if err != nil {
		return err
	}
	k.gather(ctx, askPrepare, p, p.onPromise, p.mayAccept)
	if !p.mayAccept() {
		return k.undecided(p)
	}
	var own vote
	err = k.update(ctx, func(l *ledger) error {
		own = l.accept(p.version, p.ballot, p.record)
		return nil
	})
	if err != nil {
		return err
	}
	p.onAccept(k.cfg.Storage, own)
	k.gather(ctx, askAccept, p, p.onAccept, p.decided)
	if !p.decided() {
		return k.undecided(p)
	}
	err = k.update(ctx, func(l *ledger) error {
		if l.hi() != p.base.Version {
			return nil // others have learned it, and told us
		}
		return l.merge(&Knowledge{Records: append(slices.Clone(l.Records), *p.record)})
	})
	if err == nil && !sameRecord(p.record, &record) {
		err = errOvertaken
	}
	return err
}

// beginVote promises to itself what it is about to ask of others: so it never
// uses a ballot twice, also not after a restart.
func (k *Keeper) beginVote(ctx context.Context, s *State, record *ring.Record) (*proposer, error) {
	var p *proposer
	err := k.update(ctx, func(l *ledger) error {
		if l.hi() != s.Version() || record.Version != l.hi()+1 {
			return errOvertaken
		}
		p = newProposer(l.newest(), l.ballot(k.met), record)
		own := l.prepare(p.version, p.ballot)
		if !own.OK {
			return fmt.Errorf("no member of ring %d proposes its successor", l.hi())
		}
		p.onPromise(k.cfg.Storage, own)
		return nil
	})
	return p, err
}

// undecided returns why an attempt has failed.
func (k *Keeper) undecided(p *proposer) error {
	k.met = p.met
	if k.ledger().hi() >= p.version || p.met != (Ballot{}) {
		return errOvertaken
	}
	return fmt.Errorf("%w: a majority of ring %d does not answer", ErrTooFew, p.base.Version)
}

// gather asks all other voters at once, and takes their answers until they are
// enough, or this node learns that the version is decided.
func (k *Keeper) gather(ctx context.Context, question string, p *proposer, take func(uint64, vote), enough func() bool) {
	if enough() {
		return
	}
	in := voteQuestion{Knowledge: k.knowledge(), Version: p.version, Ballot: p.ballot}
	if question == askAccept {
		in.Record = p.record
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan *voteAnswer)
	var asking sync.WaitGroup
	view := k.pool.View()
	for _, m := range p.base.Members {
		if m.Storage == k.cfg.Storage || !isUp(view, m) {
			continue
		}
		asking.Go(func() {
			out := new(voteAnswer)
			if err := k.ask(ctx, m.Name, question, &in, out); err != nil {
				if ctx.Err() == nil {
					k.complain("a vote on the ring does not come", fmt.Errorf("%s: %w", m.Name, err))
				}
				return
			}
			select {
			case answers <- out:
			case <-ctx.Done():
			}
		})
	}
	go func() {
		asking.Wait()
		close(answers)
	}()
	for out := range answers {
		k.complain("learn from a vote on the ring", k.learn(ctx, &out.Knowledge))
		if k.ledger().hi() >= p.version {
			break
		}
		take(out.Storage, out.Vote)
		if enough() {
			break
		}
	}
	cancel()
	asking.Wait()
}

func (k *Keeper) answerPrepare(ctx context.Context, in *voteQuestion) (voteAnswer, error) {
	return k.answerVote(ctx, in, func(l *ledger) (vote, error) { return l.prepare(in.Version, in.Ballot), nil })
}

func (k *Keeper) answerAccept(ctx context.Context, in *voteQuestion) (voteAnswer, error) {
	return k.answerVote(ctx, in, func(l *ledger) (vote, error) {
		if in.Record == nil || in.Record.Version != in.Version {
			return vote{}, errors.New("asked to accept no record")
		}
		if in.Version == l.hi()+1 {
			if err := check(append(slices.Clone(l.Records), *in.Record)); err != nil {
				return vote{}, err
			}
		}
		return l.accept(in.Version, in.Ballot, in.Record), nil
	})
}

// answerVote votes once what the proposer knows is known here too.
func (k *Keeper) answerVote(ctx context.Context, in *voteQuestion, cast func(*ledger) (vote, error)) (voteAnswer, error) {
	if err := k.learn(ctx, &in.Knowledge); err != nil {
		return voteAnswer{}, err
	}
	var out voteAnswer
	err := k.update(ctx, func(l *ledger) (err error) {
		out.Vote, err = cast(l)
		return err
	})
	out.Knowledge = k.knowledge()
	return out, err
}
