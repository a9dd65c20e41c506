package topology

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/ring"
)

// The questions that keepers put to each other, see [Asker].
const (
	// Pull asks for the ring's history; takes and gives a Knowledge.
	Pull = "ring-pull"
	// Offer gives the ring's history and asks for an acknowledgement; takes
	// and gives a Knowledge.
	Offer = "ring-offer"
)

// askTimeout bounds one question.
const askTimeout = 2 * time.Second

// Knowledge is what one keeper tells another.
type Knowledge struct {
	// History is all ring versions that the sender knows, from 1 on. A Pull
	// leaves it out.
	History []ring.Record `json:"history,omitempty"`
	Settled uint64        `json:"settled"` // the newest version that the sender knows to be settled
	Clock   uint64        `json:"clock"`   // its highest reading so far
	// Life is new whenever the sender's process is: what an earlier one
	// acknowledged is forgotten.
	Life uint64 `json:"life"`
}

// version returns the newest ring version of the history, 0 where there is
// none.
func (in *Knowledge) version() uint64 { return uint64(len(in.History)) }

// knowledge returns what this keeper knows: what it will resume with, while it
// has yet to.
func (k *Keeper) knowledge() Knowledge {
	if saved := k.pending(); saved != nil {
		return Knowledge{History: saved.History, Settled: saved.Settled, Clock: k.clock.Last(), Life: k.life}
	}
	return k.told(k.state.Load())
}

// told returns what a keeper in this state, which may be nil, tells.
func (k *Keeper) told(s *State) Knowledge {
	out := Knowledge{Clock: k.clock.Last(), Life: k.life} // not before the state, whose acknowledgement it is
	if s == nil {
		return out
	}
	out.History = s.history()
	out.Settled = s.Version()
	if !s.Settled {
		out.Settled--
	}
	return out
}

// learn takes over what another keeper knows.
func (k *Keeper) learn(ctx context.Context, in Knowledge) error {
	k.clock.Observe(in.Clock)
	return k.adopt(ctx, in.History, in.Settled)
}

// AnswerPull answers a Pull.
func (k *Keeper) AnswerPull(context.Context, json.RawMessage) (any, error) {
	return k.knowledge(), nil
}

// AnswerOffer answers an Offer: it adopts what is newer, waits until nothing
// runs under an older version, and then acknowledges by saying what it knows.
func (k *Keeper) AnswerOffer(ctx context.Context, raw json.RawMessage) (any, error) {
	var in Knowledge
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("read %s: %w", Offer, err)
	}
	if err := k.learn(ctx, in); err != nil {
		return nil, err
	}
	for {
		s := k.state.Load()
		if err := k.drain(ctx); err != nil {
			return nil, err
		}
		if out := k.knowledge(); s == k.state.Load() {
			return out, nil
		}
	}
}

// Refresh asks a node for a ring newer than the one known here.
func (k *Keeper) Refresh(ctx context.Context, node string) error {
	_, err := k.exchange(ctx, node, Pull, Knowledge{Clock: k.clock.Last()})
	return err
}

// offer gives a node all that is known here. It returns which life of the node
// has acknowledged exactly the ring that this node knows, or an error where
// none has.
func (k *Keeper) offer(ctx context.Context, node string) (life uint64, err error) {
	in := k.knowledge()
	out, err := k.exchange(ctx, node, Offer, in)
	if err != nil {
		return 0, err
	}
	if !sameHistory(in.History, out.History) {
		return 0, fmt.Errorf("%s to %s: it knows ring %d, not our %d", Offer, node, out.version(), in.version())
	}
	return out.Life, nil
}

// exchange puts a question to a node and learns from the answer.
func (k *Keeper) exchange(ctx context.Context, node, question string, in Knowledge) (Knowledge, error) {
	out, err := k.ask(ctx, node, question, in)
	if err != nil {
		return out, err
	}
	if err := k.learn(ctx, out); err != nil {
		return out, fmt.Errorf("%s to %s: %w", question, node, err)
	}
	return out, nil
}

// ask puts a question to a node.
func (k *Keeper) ask(ctx context.Context, node, question string, in Knowledge) (Knowledge, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var out Knowledge
	if err := k.asker.Ask(ctx, node, question, in, &out); err != nil {
		return out, fmt.Errorf("%s to %s: %w", question, node, err)
	}
	return out, nil
}
