package nodetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// life is one process of a node.
type life struct {
	name    string
	boot    uint64
	host    *Host
	pool    *pool
	store   *store
	node    *node.Node
	clients context.Context // ends when clients can reach it no more
	hangUp  context.CancelFunc
	stop    context.CancelFunc // ends Run
	done    chan struct{}      // closed when Run has returned
	err     error              // of Run; read once done is closed

	mu     sync.Mutex     // guards closed, and adding to asking
	closed bool           // clients are refused
	asking sync.WaitGroup // clients that wait for an answer
}

// enter counts a client in, which must call asking.Done, and returns false
// where it finds nobody.
func (l *life) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.clients.Err() != nil {
		return false
	}
	l.asking.Add(1)
	return true
}

// close makes clients find nobody, and waits for those who were there.
func (l *life) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.asking.Wait()
}

// life returns the last process of a node.
func (c *Cluster) life(name string) *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lives[name]
	if l == nil {
		c.t.Helper()
		c.t.Fatalf("no node %q was ever started", name)
	}
	return l
}

// Start starts a node over whatever store it has, a new one at first. It does
// not wait for anything.
func (c *Cluster) Start(name string) *node.Node {
	c.t.Helper()
	l, err := c.start(name)
	if err != nil {
		c.t.Fatalf("start %s: %v", name, err)
	}
	return l.node
}

func (c *Cluster) start(name string) (*life, error) {
	if c.founder == "" {
		c.founder = name
	}
	memory, boot, err := c.prepare(name)
	if err != nil {
		return nil, err
	}
	l := &life{
		name: name, boot: boot,
		host: c.net.Host(name),
		store: &store{
			Memory: memory, lasts: !c.opts.Forgetful,
			fail: func() error { return c.failing(name) },
		},
		done: make(chan struct{}),
	}
	l.pool = c.gossip.join(name, c.facts(l), time.Now())
	l.clients, l.hangUp = context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	if l.node, err = c.newNode(ctx, l, c.logger(name)); err != nil {
		c.gossip.crash(l.pool)
		l.host.Crash()
		l.hangUp()
		stop()
		return nil, err
	}
	listener := l.host.Listen()
	c.mu.Lock()
	c.lives[name] = l
	c.members[name] = true
	c.mu.Unlock()
	c.running.Go(func() {
		defer close(l.done)
		l.err = l.node.Run(ctx, listener)
		if ctx.Err() != nil || l.clients.Err() != nil {
			return // it was made to
		}
		if c.isMember(name) && !errors.Is(l.err, node.ErrRemoved) { // see Reset
			c.t.Errorf("%s has ended by itself: %v", name, l.err)
		}
		c.bury(l)
	})
	return l, nil
}

// prepare makes what a new process of a node needs.
func (c *Cluster) prepare(name string) (memory *kv.Memory, boot uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.lives[name]; last != nil && last.clients.Err() == nil {
		return nil, 0, fmt.Errorf("%s runs", name)
	}
	if c.stores[name] == nil || c.opts.Forgetful {
		if c.stores[name], err = kv.NewMemory(kv.MemoryOptions{Partitions: c.opts.Partitions}); err != nil {
			return nil, 0, err
		}
	}
	c.boots++
	return c.stores[name], c.boots, nil
}

func (c *Cluster) isMember(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[name]
}

// Kill ends a node as kill -9 does. What of it still runs in this process can
// do nothing any more, and is not waited for.
func (c *Cluster) Kill(name string) {
	c.t.Helper()
	c.bury(c.life(name))
	c.net.Resume(name)
}

// bury makes the end of a process be the end of all that it did.
func (c *Cluster) bury(l *life) {
	l.hangUp() // first, for that is how its goroutines know
	l.store.kill()
	l.host.Crash()
	c.gossip.crash(l.pool)
	l.stop()
}

// Stop ends a node as SIGTERM does: it lets no more clients in, finishes what is
// in flight, and says goodbye.
func (c *Cluster) Stop(name string) {
	c.t.Helper()
	l := c.life(name)
	l.node.Stopping()
	l.close()
	l.stop()
	c.Await(name+" to end", func() error {
		select {
		case <-l.done:
			return nil
		default:
			return fmt.Errorf("it still runs")
		}
	})
	c.gossip.goodbye(l.pool, time.Now())
	c.Kill(name)
}

// Restart starts a node that was ended, over the store that it left.
func (c *Cluster) Restart(name string) *node.Node {
	c.t.Helper()
	c.life(name)
	return c.Start(name)
}

// Wipe ends a node, where it runs, and starts it with an empty store.
func (c *Cluster) Wipe(name string) *node.Node {
	c.t.Helper()
	if c.life(name).clients.Err() == nil {
		c.Kill(name)
	}
	c.mu.Lock()
	delete(c.stores, name)
	c.mu.Unlock()
	return c.Start(name)
}

// AwaitEnd waits until a node has ended by itself, and returns why.
func (c *Cluster) AwaitEnd(name string) error {
	c.t.Helper()
	l := c.life(name)
	c.Await(name+" to end by itself", func() error {
		select {
		case <-l.done:
			return nil
		default:
			return errors.New("it still runs")
		}
	})
	return l.err
}

// Reset starts a node that has ended over what it left, emptied, as a process
// does whose node has ended with [node.ErrRemoved].
func (c *Cluster) Reset(name string) *node.Node {
	c.t.Helper()
	if err := node.Reset(c.t.Context(), c.Store(name), name, c.opts.Partitions); err != nil {
		c.t.Fatalf("reset %s: %v", name, err)
	}
	return c.Start(name)
}

// Join starts a new node, and waits until it is in the ring.
func (c *Cluster) Join(name string) *node.Node {
	c.t.Helper()
	n := c.Start(name)
	c.AwaitSettled()
	return n
}

// Leave makes a node leave the ring and end. The error is that of its Leave.
func (c *Cluster) Leave(ctx context.Context, name string) error {
	c.t.Helper()
	n := c.Node(name)
	c.setMember(name, false) // it may end by itself as soon as it is out
	if err := n.Leave(ctx); err != nil {
		c.setMember(name, true)
		return err
	}
	select {
	case <-n.Left():
	case <-ctx.Done():
		return ctx.Err()
	}
	c.Stop(name)
	return nil
}

// Forget makes a node forget another. The error is that of its Forget.
func (c *Cluster) Forget(ctx context.Context, through, name string, force bool) error {
	c.t.Helper()
	c.setMember(name, false)
	if err := c.Node(through).Forget(ctx, name, force); err != nil {
		c.setMember(name, true)
		return err
	}
	return nil
}

func (c *Cluster) setMember(name string, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[name] = is
}

// Pause stops a node as SIGSTOP does; see the package about its timers.
func (c *Cluster) Pause(name string) { c.net.Pause(c.life(name).name) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(name string) { c.net.Resume(c.life(name).name) }

// Partition keeps groups of nodes from hearing each other, by stalling.
func (c *Cluster) Partition(groups ...[]string) { c.net.Partition(Stall, groups...) }

// Heal ends all partitions.
func (c *Cluster) Heal() { c.net.Heal() }

// end ends all nodes.
func (c *Cluster) end() {
	c.mu.Lock()
	names := make([]string, 0, len(c.lives))
	for name := range c.lives {
		names = append(names, name)
	}
	c.mu.Unlock()
	for _, name := range names {
		c.Kill(name)
	}
}
