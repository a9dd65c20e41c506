package peer

import (
	"errors"
	"testing"
	"time"
)

func TestCircuit(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	now := time.Unix(1000, 0)
	var c circuit
	if err := c.refuses(now); err != nil {
		t.Errorf("a new circuit refuses: %v", err)
	}
	for _, want := range []time.Duration{
		50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond,
		800 * time.Millisecond, 1600 * time.Millisecond, 2 * time.Second, 2 * time.Second,
	} {
		c.failed(now, broken, 0)
		if err := c.refuses(now.Add(want - 1)); !errors.Is(err, broken) {
			t.Errorf("lets a call through before %v: %v", want, err)
		}
		if err := c.refuses(now.Add(want)); err != nil {
			t.Errorf("still refuses after %v: %v", want, err)
		}
	}
	c.answered()
	c.failed(now, broken, 0.999)
	if err := c.refuses(now.Add(minBackoff/2 - 1)); err == nil {
		t.Error("jitter takes more than half of the wait")
	}
	if err := c.refuses(now.Add(minBackoff/2 + time.Millisecond)); err != nil {
		t.Errorf("the wait does not begin anew after an answer: %v", err)
	}
}
