package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/thunderdb/thunderdb/ring"
)

// The questions that keepers put to each other, see [Keeper.Answers].
const (
	askExchange = "ring-exchange" // Knowledge both ways
	askPrepare  = "ring-prepare"  // the two phases of a vote
	askAccept   = "ring-accept"
	askChange   = "ring-change" // to propose a change: a leave, a forget
	askForce    = "ring-force"  // to adopt a record that nobody voted on
)

// askTimeout bounds one question, changeTimeout one that needs votes.
const (
	askTimeout    = 2 * time.Second
	changeTimeout = 10 * time.Second
)

// Knowledge is what one keeper tells another.
type Knowledge struct {
	Storage uint64             `json:"storage,string"` // of the sender
	Cache   bool               `json:"cache,omitempty"`
	Records []ring.Record      `json:"records,omitempty"` // of all versions that are live for it
	Numbers map[uint64]Numbers `json:"numbers,omitempty"`
	Clock   uint64             `json:"clock"` // its highest reading so far
}

// version returns the newest ring version in it, 0 where there is none.
func (in *Knowledge) version() uint64 {
	if len(in.Records) == 0 {
		return 0
	}
	return in.Records[len(in.Records)-1].Version
}

// knowledge returns what this keeper knows.
func (k *Keeper) knowledge() Knowledge {
	l := k.ledger()
	return Knowledge{
		Storage: k.cfg.Storage, Cache: k.cfg.Cache,
		Records: l.Records, Numbers: l.Numbers, Clock: k.clock.Last(),
	}
}

// learn takes over what another keeper knows.
func (k *Keeper) learn(ctx context.Context, in *Knowledge) error {
	k.clock.Observe(in.Clock)
	if err := k.update(ctx, func(l *ledger) error { return l.merge(in) }); err != nil {
		return err
	}
	k.heard(in)
	return nil
}

// Answers returns what answers the questions of other keepers, by name. Each
// takes and gives JSON.
func (k *Keeper) Answers() map[string]func(context.Context, json.RawMessage) (any, error) {
	return map[string]func(context.Context, json.RawMessage) (any, error){
		askExchange: answer(k.answerExchange),
		askPrepare:  answer(k.answerPrepare),
		askAccept:   answer(k.answerAccept),
		askChange:   answer(k.answerChange),
		askForce:    answer(k.answerForce),
	}
}

// answer makes an answer of one that takes what is decoded.
func answer[In, Out any](do func(context.Context, *In) (Out, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		in := new(In)
		if err := json.Unmarshal(raw, in); err != nil {
			return nil, fmt.Errorf("read a question about the ring: %w", err)
		}
		return do(ctx, in)
	}
}

func (k *Keeper) answerExchange(ctx context.Context, in *Knowledge) (Knowledge, error) {
	if err := k.learn(ctx, in); err != nil {
		return Knowledge{}, err
	}
	return k.knowledge(), nil
}

// Refresh tells a node what is known here of the ring, and learns what it knows
// beyond that. Where a version brings partitions here, that waits for the users
// of states from before this node ceased to hold them; so a user of an older
// state releases it first.
func (k *Keeper) Refresh(ctx context.Context, node string) error {
	_, err := k.exchange(ctx, node)
	return err
}

// exchange is Refresh, and returns what the node said.
func (k *Keeper) exchange(ctx context.Context, node string) (Knowledge, error) {
	var out Knowledge
	err := k.ask(ctx, node, askExchange, k.knowledge(), &out)
	if err == nil {
		err = k.learn(ctx, &out)
	}
	if err != nil {
		return out, fmt.Errorf("%s with %s: %w", askExchange, node, err)
	}
	return out, nil
}

// ask puts a question to a node.
func (k *Keeper) ask(ctx context.Context, node, question string, in, out any) error {
	timeout := askTimeout
	if question == askChange {
		timeout = changeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return k.asker.Ask(ctx, node, question, in, out)
}

// refusals are the errors of a change that travel between nodes, by what they
// are called there.
var refusals = map[string]error{
	"member-up": ErrMemberUp, "no-member": ErrNoMember, "too-few": ErrTooFew,
	"last-member": ErrLastMember, "busy": ErrBusy, "no-ring": ErrNoRing,
}

// refusal is how an error of a change travels.
type refusal struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

// refuse returns err as it travels; the zero value for nil.
func refuse(err error) refusal {
	if err == nil {
		return refusal{}
	}
	for code, sentinel := range refusals {
		if errors.Is(err, sentinel) {
			return refusal{Code: code, Text: err.Error()}
		}
	}
	return refusal{Code: "other", Text: err.Error()}
}

// error is the inverse of refuse.
func (r refusal) error() error {
	if r.Code == "" {
		return nil
	}
	return &refused{text: r.Text, sentinel: refusals[r.Code]}
}

// refused is an error that another node has returned.
type refused struct {
	text     string
	sentinel error // nil: none of ours
}

func (r *refused) Error() string { return r.text }
func (r *refused) Unwrap() error { return r.sentinel }
