package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/membership"
)

// world is a gossip pool and a network that tests control. It lives in a
// synctest bubble, so that time passes only when everybody waits.
type world struct {
	t      *testing.T
	mu     sync.Mutex // guards what follows
	places map[string]*place
	boots  uint64
	dice   *rand.Rand // decides what gets lost; nil: nothing does
	// fault says what becomes of one question; nil: nothing.
	fault func(from, to, question string) (late time.Duration, lost bool)
}

// place is where a node of some name runs, or ran.
type place struct {
	w      *world
	facts  membership.Facts
	up     bool
	keeper *Keeper
	clock  *kv.Clock
	meta   kv.Metadata // of the store
	stop   func()
}

// inWorld runs a test in a bubble, and stops all its nodes after it.
func inWorld(t *testing.T, test func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, places: map[string]*place{}}
		defer w.stopAll()
		test(w)
	})
}

// start starts a node with an empty store: it knows nothing.
func (w *world) start(name string, founder bool) *Keeper {
	w.t.Helper()
	return w.startOver(w.newStore(), name, founder)
}

// newStore returns an empty store, for what keepers save.
func (w *world) newStore() *kv.Memory {
	w.t.Helper()
	store, err := kv.NewMemory(kv.MemoryOptions{Partitions: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return store
}

// restart starts a node over the store that its last process left.
func (w *world) restart(name string) *Keeper {
	w.t.Helper()
	return w.startOver(w.places[name].meta, name, false)
}

func (w *world) startOver(meta kv.Metadata, name string, founder bool) *Keeper {
	w.t.Helper()
	clock := kv.NewClock(nil)
	p := &place{w: w, up: true, clock: clock, meta: meta, facts: membership.Facts{Peer: name, Founding: founder}}
	p.keeper = New(Config{Name: name, Founder: founder, Partitions: 64}, meta, p, asker{w, name}, clock, hclog.NewNullLogger())
	if err := p.keeper.Load(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boots++
	p.facts.Boot = w.boots
	w.places[name] = p
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.keeper.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	p.stop = func() { cancel(); <-done }
	return p.keeper
}

// kill ends a node as kill -9 does.
func (w *world) kill(name string) {
	w.mu.Lock()
	p := w.places[name]
	p.up = false
	w.mu.Unlock()
	p.stop()
}

func (w *world) stopAll() {
	for name := range w.places {
		if w.up(name) {
			w.kill(name)
		}
	}
}

// View implements Pool: everybody sees everything at once.
func (p *place) View() *membership.View {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var nodes []membership.Node
	for name, at := range p.w.places {
		status := membership.Joining
		switch {
		case !at.up:
			status = membership.Down
		case at.facts.Member:
			status = membership.Alive
		}
		nodes = append(nodes, membership.Node{Name: name, Facts: at.facts, Status: status})
	}
	return membership.NewView(nodes)
}

// Watch implements Pool. Nothing is ever signalled: keepers look at each tick.
func (p *place) Watch() (<-chan struct{}, func()) { return nil, func() {} }

// Joined implements Pool.
func (p *place) Joined() bool { return true }

// Update implements Pool.
func (p *place) Update(change func(*membership.Facts)) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	change(&p.facts)
	return nil
}

// asker puts the questions of one node to the others.
type asker struct {
	w    *world
	from string
}

var errLost = errors.New("lost")

// Ask implements Asker. What travels is JSON, as over a network.
func (a asker) Ask(ctx context.Context, node, question string, in, out any) error {
	a.w.mu.Lock()
	to := a.w.places[node]
	reachable := to != nil && to.up && a.w.places[a.from].up
	lost, answerLost := a.w.loses(), a.w.loses()
	there, back := a.w.delays(), a.w.delays()
	fault := a.w.fault
	a.w.mu.Unlock()
	if fault != nil {
		there, lost = fault(a.from, node, question)
	}
	if err := late(ctx, there); err != nil {
		return err
	}
	if !reachable || lost {
		return errLost
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer := to.keeper.AnswerPull
	if question == Offer {
		answer = to.keeper.AnswerOffer
	}
	reply, err := answer(ctx, raw)
	if err != nil {
		return err
	}
	if answerLost {
		return errLost
	}
	if err := late(ctx, back); err != nil {
		return err
	}
	if raw, err = json.Marshal(reply); err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// lose makes three of ten questions and answers get lost from now on, and half
// of them late; none where dice is nil.
func (w *world) lose(dice *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dice = dice
}

// breaks makes fault decide about questions from now on.
func (w *world) breaks(fault func(from, to, question string) (late time.Duration, lost bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// loses decides about one message. The caller holds mu.
func (w *world) loses() bool { return w.dice != nil && w.dice.Float64() < 0.3 }

func (w *world) up(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[name]
	return p != nil && p.up
}

// await waits until all named nodes are settled in one ring of so many
// members.
func (w *world) await(members int, names ...string) {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !w.settled(members, names) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after a minute: %s", w.describe())
		}
		w.pass(50 * time.Millisecond)
	}
}

func (w *world) settled(members int, names []string) bool {
	for _, name := range names {
		s := w.places[name].keeper.State()
		if s == nil || !s.Settled || len(s.Ring.Members()) != members || s.Self < 0 {
			return false
		}
	}
	return true
}

func (w *world) describe() string {
	text := ""
	for name, p := range w.places {
		text += fmt.Sprintf("\n%s up=%v", name, p.up)
		if s := p.keeper.State(); s != nil {
			text += fmt.Sprintf(" ring=%d settled=%v members=%v", s.Version(), s.Settled, s.Ring.Members())
		}
	}
	return text
}

// pass lets time pass, and checks what must hold at every moment.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	time.Sleep(d) // of the bubble: nobody really waits
	synctest.Wait()
	w.checkOneServer()
}

// checkOneServer holds the promise of the package.
func (w *world) checkOneServer() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	serving := map[int]string{}
	for name, p := range w.places {
		s := p.keeper.State()
		if !p.up || s == nil || s.Self < 0 {
			continue
		}
		for partition := range s.Ring.Partitions() {
			if s.Owner(partition) != s.Self || !s.Open(partition) {
				continue
			}
			if other, taken := serving[partition]; taken {
				w.t.Fatalf("partition %d is served by %s and %s", partition, other, name)
			}
			serving[partition] = name
		}
	}
}

// delays decides how late one message is. The caller holds mu.
func (w *world) delays() time.Duration {
	if w.dice == nil || w.dice.IntN(2) == 0 {
		return 0
	}
	return time.Duration(w.dice.IntN(1500)) * time.Millisecond
}

// late waits as long as a message is under way; its error is ctx's.
func late(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}
