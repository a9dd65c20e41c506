package nodetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// clients is what clients in the background have in common.
type clients struct {
	c       *Cluster
	number  uint64   // tells their keys, and their dice, from those of others
	nodes   []string // that they talk to; nil: all that run
	every   time.Duration
	ctx     context.Context // ends when they are to stop
	cancel  context.CancelFunc
	working sync.WaitGroup
}

func (c *Cluster) newClients(nodes []string, every time.Duration) *clients {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loads++
	cs := &clients{c: c, number: c.loads, nodes: nodes, every: every}
	cs.ctx, cs.cancel = context.WithCancel(c.t.Context())
	return cs
}

// dice returns the chance of one client.
func (cs *clients) dice(client int) *rand.Rand {
	return rand.New(rand.NewPCG(cs.c.opts.Seed, cs.number<<16|uint64(client)))
}

// start makes a client, which repeats step, with pauses.
func (cs *clients) start(dice *rand.Rand, step func(context.Context)) {
	cs.working.Add(1)
	cs.c.running.Go(func() {
		defer cs.working.Done()
		pause := time.NewTimer(0)
		defer pause.Stop()
		for {
			select {
			case <-cs.ctx.Done():
				return
			case <-pause.C:
			}
			// What is under way when clients are stopped has its time.
			step(context.WithoutCancel(cs.ctx))
			pause.Reset(time.Duration(dice.Int64N(2 * int64(cs.every))))
		}
	})
}

// stop ends the clients, once what is under way has ended.
func (cs *clients) stop() {
	cs.cancel()
	cs.working.Wait()
}

// node picks a node to talk to, another than one where there is one; "" where
// none runs.
func (cs *clients) node(dice *rand.Rand, but string) string {
	nodes := cs.nodes
	if nodes == nil {
		nodes = cs.c.Live()
	}
	if others := slices.DeleteFunc(slices.Clone(nodes), func(name string) bool { return name == but }); len(others) > 0 {
		nodes = others
	}
	if len(nodes) == 0 {
		return ""
	}
	return nodes[dice.IntN(len(nodes))]
}
