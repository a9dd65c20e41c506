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
	"github.com/thunderdb/thunderdb/ring"
)

// worldPartitions is how many partitions clusters of a world have.
const worldPartitions = 16

// world is a gossip pool, a network and stores that tests control. It lives in
// a synctest bubble, so that time passes only when everybody waits.
type world struct {
	t        *testing.T
	mu       sync.Mutex // guards what follows
	places   map[string]*place
	boots    uint64
	dice     *rand.Rand // decides what gets lost; nil: nothing does
	replicas int        // of a cluster that is founded
	change   func(*Config)
	// fault says what becomes of one question; nil: nothing.
	fault   func(from, to, question string) (late time.Duration, lost bool)
	decided map[string]ring.Record // by cluster and version
	acked   []int                  // by partition: the last write that was acknowledged
	writes  int
}

// place is where a node of some name runs, or ran.
type place struct {
	w       *world
	name    string
	storage uint64
	facts   membership.Facts
	up      bool
	keeper  *Keeper
	clock   *kv.Clock
	meta    kv.Metadata // of the store
	data    *shelf
	stop    func()
	ended   chan struct{} // closed when Run has returned err
	err     error
}

// inWorld runs a test in a bubble, and stops all its nodes after it.
func inWorld(t *testing.T, test func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, places: map[string]*place{}, replicas: 3, decided: map[string]ring.Record{},
			acked: make([]int, worldPartitions),
		}
		defer w.stopAll()
		test(w)
	})
}

// start starts a node with an empty store: it knows nothing.
func (w *world) start(name string, founder bool) *Keeper {
	w.t.Helper()
	p := &place{name: name, meta: w.newStore(), data: newShelf(w)}
	w.mu.Lock()
	w.boots++
	p.storage = 1000 + w.boots
	w.mu.Unlock()
	return w.run(p, founder)
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

// startOver is restart with other metadata.
func (w *world) startOver(meta kv.Metadata, name string, founder bool) *Keeper {
	w.t.Helper()
	was := w.places[name]
	return w.run(&place{name: name, meta: meta, data: was.data, storage: was.storage}, founder)
}

func (w *world) run(p *place, founder bool) *Keeper {
	w.t.Helper()
	p.w, p.up, p.clock, p.ended = w, true, kv.NewClock(nil), make(chan struct{})
	p.facts = membership.Facts{Peer: p.name, Founding: founder}
	p.data.at = p
	cfg := Config{Name: p.name, Storage: p.storage, Founder: founder, Partitions: worldPartitions, Replicas: w.replicas}
	if w.change != nil {
		w.change(&cfg)
	}
	p.keeper = New(cfg, p.meta, p, asker{w, p.name}, p.data, p.clock, hclog.NewNullLogger())
	if err := p.keeper.Load(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boots++
	p.facts.Boot = w.boots
	w.places[p.name] = p
	ctx, cancel := context.WithCancel(w.t.Context())
	go func() {
		defer close(p.ended)
		p.err = p.keeper.Run(ctx)
		if p.err != nil && !errors.Is(p.err, ErrRemoved) && !errors.Is(p.err, ErrSetBack) {
			w.t.Error(p.err)
		}
	}()
	p.stop = func() { cancel(); <-p.ended }
	return p.keeper
}

// soon does what should have to wait for nobody.
func (w *world) soon(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	return do(ctx)
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

// View implements Pool: everybody of one cluster sees everybody at once.
func (p *place) View() *membership.View {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	var nodes []membership.Node
	for name, at := range p.w.places {
		if at.facts.Cluster != "" && p.facts.Cluster != "" && at.facts.Cluster != p.facts.Cluster {
			continue
		}
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

var (
	errLost    = errors.New("lost")
	errForeign = errors.New("of another cluster")
)

// Ask implements Asker. What travels is JSON, as over a network.
func (a asker) Ask(ctx context.Context, node, question string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var reply any
	err = a.w.travel(ctx, a.from, node, question, func(to *place) (err error) {
		reply, err = to.keeper.Answers()[question](ctx, raw)
		return err
	})
	if err != nil || out == nil {
		return err
	}
	if raw, err = json.Marshal(reply); err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// travel has something done at another node, if the network lets it.
func (w *world) travel(ctx context.Context, from, node, question string, do func(to *place) error) error {
	w.mu.Lock()
	to := w.places[node]
	reachable := to != nil && to.up && w.places[from].up
	foreign := reachable && to.facts.Cluster != "" && w.places[from].facts.Cluster != "" &&
		to.facts.Cluster != w.places[from].facts.Cluster
	lost, answerLost := w.loses(), w.loses()
	there, back := w.delays(), w.delays()
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		there, lost = fault(from, node, question)
	}
	if err := late(ctx, there); err != nil {
		return err
	}
	switch {
	case !reachable || lost:
		return errLost
	case foreign:
		return errForeign
	}
	if err := do(to); err != nil {
		return err
	}
	if answerLost {
		return errLost
	}
	return late(ctx, back)
}

// lose makes a fifth of all questions and answers get lost from now on, and half
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
func (w *world) loses() bool { return w.dice != nil && w.dice.Float64() < 0.2 }

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
	w.awaitThat(fmt.Sprintf("%d members settled", members), func() bool { return w.settled(members, names) })
}

// awaitThat waits until something holds.
func (w *world) awaitThat(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not after two minutes: %s\n%s", what, w.describe())
		}
		w.pass(50 * time.Millisecond)
	}
}

func (w *world) settled(members int, names []string) bool {
	for _, name := range names {
		s := w.state(name)
		if s == nil || !s.Settled() || len(s.Ring.Members()) != members || s.Self < 0 || !s.Confirmed {
			return false
		}
		if s.Version() != w.state(names[0]).Version() {
			return false
		}
	}
	return true
}

func (w *world) state(name string) *State { return w.places[name].keeper.State() }

func (w *world) describe() string {
	text := ""
	for name, p := range w.places {
		text += fmt.Sprintf("\n%s of %d up=%v", name, p.storage, p.up)
		if s := p.keeper.State(); s != nil {
			text += fmt.Sprintf(" ring=%d..%d of %s read=%d self=%d confirmed=%v numbers=%v members=%v removed=%v", s.Oldest(), s.Version(),
				s.Cluster(), s.Read.Version(), s.Self, s.Confirmed, s.Numbers, s.Ring.Members(), s.Ring.Record().Removed)
		}
	}
	return text
}

// pass lets time pass, and checks what must hold at every moment.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	time.Sleep(d) // of the bubble: nobody really waits
	synctest.Wait()
	w.check()
}

// check holds the promise of the package: no version has two records, and no
// quorum of a read can miss what was acknowledged.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, p := range w.places {
		s := p.keeper.State()
		if !p.up || s == nil {
			continue
		}
		for _, r := range s.ledger.Records {
			key := fmt.Sprint(r.Cluster, " ", r.Version)
			if was, known := w.decided[key]; known && !sameRecord(&was, &r) {
				w.t.Fatalf("version %s has two records: %+v and %+v", key, was, r)
			}
			w.decided[key] = r
		}
		if s.Self < 0 || !s.Confirmed {
			continue
		}
		for partition, acked := range w.acked {
			lacking := 0
			replicas := s.Read.Replicas(partition)
			for _, i := range replicas {
				if m := s.Read.Members()[i]; w.wouldMiss(m, s, partition, acked) {
					lacking++
				}
			}
			if lacking >= quorum(len(replicas)) {
				w.t.Fatalf("%s may read partition %d and miss write %d%s", name, partition, acked, w.describe())
			}
		}
	}
}

// wouldMiss reports whether a member would answer a read with less than an
// acknowledged write. The caller holds mu.
func (w *world) wouldMiss(m ring.Member, of *State, partition, acked int) bool {
	p := w.places[m.Name]
	s := p.keeper.State()
	if p.storage != m.Storage || !p.up || s == nil || s.Version() < of.Version() {
		return false // it does not answer, or learns first
	}
	read := of.Read.Version()
	refuses := s.Oldest() > read || s.Seal > of.Version() || s.Own().Done > read
	return !refuses && p.data.get(partition) < acked
}

// delays decides how late one message is. The caller holds mu.
func (w *world) delays() time.Duration {
	if w.dice == nil || w.dice.IntN(2) == 0 {
		return 0
	}
	return time.Duration(w.dice.IntN(1000)) * time.Millisecond
}

// late waits as long as a message is under way; its error is ctx's.
func late(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}
