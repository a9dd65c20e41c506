// Package nodetest runs whole clusters in one process, for tests: real nodes,
// on a network, a gossip pool and clocks that the test controls. It promises
// that a fault does to a node what it would do to a process of its own, as far
// as a process can be imitated by goroutines:
//
//   - A node that is killed says and stores nothing from that moment on: its
//     connections are reset, its calls of the store fail, and gossip hears no
//     more of it. What its store has acknowledged by then is kept.
//   - A node that is paused reads and writes nothing, its connections stay
//     open, and its clients hear nothing. Its timers cannot be stopped: what
//     they do to the node itself, such as giving up on a peer, they do.
//   - The network delivers the bytes of a direction in order, late by whatever
//     the test says, or not at all while the direction is cut.
//
// All waiting goes through package time, so that scenarios may run in a
// bubble of [testing/synctest] ([Bubble]), where minutes pass in no time; they
// run outside of one as well. In a bubble, nothing may hold a sync.Mutex while
// it waits for the network or for time: whoever then waits for that mutex stops
// the bubble's clock for good, and the test hangs.
//
// Whatever is random comes from [Options].Seed, which a test that fails prints.
// The faults and the load are the same for the same seed; the order in which
// goroutines run is not.
package nodetest
