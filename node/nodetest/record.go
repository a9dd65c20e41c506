package nodetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// HistoryOptions describes clients that make a history. The zero value of a
// field means its default.
type HistoryOptions struct {
	Keys int // at one time: 3
	// PerKey is how many operations a key has before another takes its place,
	// for the effort of checking grows quickly with those of one key whose
	// outcome is not known: 60.
	PerKey  int
	Clients int           // 5
	Every   time.Duration // a client's pause between two operations: 20 ms on average
	// Swaps is the share of writes that are conditional: 0.5. Less than 0 means
	// none.
	Swaps float64
}

// Recorder is clients in the background that make a history.
type Recorder struct {
	*History
	*clients
	used []atomic.Int64 // operations so far on each of the keys in turn
}

// Record starts clients, which go on until Stop or the test's end.
func (c *Cluster) Record(opts HistoryOptions) *Recorder {
	if opts.Keys == 0 {
		opts.Keys = 3
	}
	if opts.PerKey == 0 {
		opts.PerKey = 60
	}
	if opts.Clients == 0 {
		opts.Clients = 5
	}
	if opts.Every == 0 {
		opts.Every = 20 * time.Millisecond
	}
	if opts.Swaps == 0 {
		opts.Swaps = 0.5
	}
	r := &Recorder{
		History: &History{}, clients: c.newClients(nil, opts.Every),
		used: make([]atomic.Int64, opts.Keys),
	}
	for i := range opts.Clients {
		cl := &client{Recorder: r, id: i, opts: opts, dice: r.dice(i), seen: map[string]kv.Entry{}}
		r.start(cl.dice, cl.step)
	}
	return r
}

// Stop ends the clients, once what is under way has ended, and returns what
// they made.
func (r *Recorder) Stop() *History {
	r.stop()
	return r.History
}

// client is one that makes a history.
type client struct {
	*Recorder
	id   int
	opts HistoryOptions
	dice *rand.Rand
	sets int
	seen map[string]kv.Entry // what it last read of each key
}

// step is one operation, through any node that runs.
func (cl *client) step(ctx context.Context) {
	name := cl.node(cl.dice, "")
	if name == "" {
		return
	}
	key := cl.key()
	cl.sets++
	next := register{exists: true, value: fmt.Sprintf("%d-%d", cl.id, cl.sets)}
	switch what := cl.dice.Float64(); {
	case what < 0.5:
		cl.run(ctx, name, input{key: key, do: reading}, kv.Op{Verb: kv.Get})
	case what < 0.55:
		cl.run(ctx, name, input{key: key, do: setting}, kv.Op{Verb: kv.Delete})
	case cl.dice.Float64() < cl.opts.Swaps:
		old := cl.seen[key]
		in := input{key: key, do: swapping, new: next}
		condition := &kv.Condition{NoneMatchAny: true}
		if !old.Version.IsZero() {
			in.old = register{exists: true, value: string(old.Value)}
			condition = &kv.Condition{Matches: true, Match: []kv.Version{old.Version}}
		}
		cl.run(ctx, name, in, kv.Op{Verb: kv.Put, Value: []byte(next.value), If: condition})
	default:
		cl.run(ctx, name, input{key: key, do: setting, new: next}, kv.Op{Verb: kv.Put, Value: []byte(next.value)})
	}
}

// key picks a key.
func (cl *client) key() string {
	at := cl.dice.IntN(cl.opts.Keys)
	turn := cl.used[at].Add(1) / int64(cl.opts.PerKey)
	return fmt.Sprintf("history%d-%d-%d", cl.number, at, turn)
}

// run asks, and takes down what comes of it.
func (cl *client) run(ctx context.Context, name string, in input, op kv.Op) {
	op.Key = []byte(in.key)
	began := cl.begin()
	r := cl.c.Do(ctx, name, &op)
	out := output{swapped: r.Err == nil}
	absent := errors.Is(r.Err, kv.ErrNotFound)
	switch {
	case in.do == reading && r.Err != nil && !absent:
		return // it says nothing
	case in.do == reading:
		cl.seen[in.key] = kv.Entry{}
		if !absent {
			cl.seen[in.key] = r.Entry
			out.held = register{exists: true, value: string(r.Entry.Value)}
		}
	case in.do == swapping && errors.Is(r.Err, kv.ErrPrecondition):
	case r.Err != nil && NotApplied(r.Err):
		return // as if nobody had asked
	case r.Err != nil:
		out.unknown = true
	}
	cl.end(cl.id, in, began, out)
}
