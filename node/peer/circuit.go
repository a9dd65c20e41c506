package peer

import "time"

// The waits of a circuit after the first failure and at most.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// circuit decides whether a peer may be tried. After a failure it refuses for
// a while that doubles with each further one, then lets one attempt through;
// an answer closes it again. The zero circuit is closed.
type circuit struct {
	err   error         // the last failure; nil while closed
	wait  time.Duration // how long it refused last, before jitter
	until time.Time
}

// refuses returns the error that a call ends with at now, or nil where an
// attempt may be made.
func (c *circuit) refuses(now time.Time) error {
	if now.Before(c.until) {
		return c.err
	}
	return nil
}

// failed opens the circuit. jitter is a random number in [0,1): it shortens
// the wait by up to a half, so that the nodes do not come back all at once.
func (c *circuit) failed(now time.Time, err error, jitter float64) {
	c.err = err
	c.wait = min(max(minBackoff, 2*c.wait), maxBackoff)
	c.until = now.Add(c.wait - time.Duration(jitter*float64(c.wait)/2))
}

// answered closes the circuit.
func (c *circuit) answered() {
	*c = circuit{}
}
