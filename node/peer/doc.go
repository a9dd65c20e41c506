// Package peer is both ends of the traffic between nodes.
//
// Requests that wait for the same peer are gathered into one frame: whatever
// came while the last frame was in flight is the next. It promises that every
// call ends by its deadline, that a peer which stalls costs its callers
// nothing but errors, and that what was not answered is never reported as
// done.
package peer
