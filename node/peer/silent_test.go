package peer

import (
	"bufio"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// Silent counts from what was asked, or from what came last, while something is
// asked.
func TestSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		beat, answer, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
		defer close(over)
		p := fakePeer(t, func(conn net.Conn, r *bufio.Reader) {
			for {
				if _, err := readFrame(r, nil, defaultMaxFrame); err != nil {
					return
				}
				for last := false; !last; {
					select {
					case <-beat:
						conn.Write(replyWith(false, 0))
					case <-answer:
						conn.Write(replyWith(true, 1))
						last = true
					case <-over:
						return
					}
				}
			}
		})
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		is := func(when string, want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := c.Silent(); got != want {
				t.Errorf("%s it is silent for %v, want %v", when, got, want)
			}
		}
		is("at first", 0)
		done := make(chan error, 1)
		ask := func() { done <- c.Do(within(t, time.Minute), callOf(ReplicaReads, get("k"))) }
		for range 2 {
			time.Sleep(time.Hour)
			is("while nothing is asked", 0)
			go ask()
			is("when it is asked", 0)
			time.Sleep(time.Second)
			is("a second later", time.Second)
			beat <- struct{}{}
			is("when it says that it is at work", 0)
			time.Sleep(2 * time.Second)
			is("two seconds after that", 2*time.Second)
			answer <- struct{}{}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			is("when it has answered", 0)
		}
		go ask()
		time.Sleep(defaultStall - 1)
		is("just before it is given up", defaultStall-1)
		if err := <-done; err == nil {
			t.Error("a call that was not answered is done")
		}
		is("when it was given up", 0)
	})
}

// A peer that cannot be reached is silent while it is tried.
func TestSilentWhileConnecting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes() // never accepts
		defer p.close()
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		done := make(chan error, 1)
		go func() { done <- c.Do(within(t, time.Minute), callOf(ReplicaWrites, put("k", "v"))) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := c.Silent(); got != time.Second {
			t.Errorf("silent for %v after a second", got)
		}
		<-done
		if got := c.Silent(); got != 0 {
			t.Errorf("silent for %v where nothing is asked", got)
		}
	})
}

// What a caller asked in vain and left alone is still not answered.
func TestSilentAfterTheCallerLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := fakePeer(t, func(_ net.Conn, r *bufio.Reader) { readFrame(r, nil, defaultMaxFrame); r.ReadByte() })
		c := dialled(t, ClientConfig{Dial: p.dial}, "server:1")
		if err := c.Do(within(t, time.Second), callOf(ReplicaWrites, put("k", "v"))); err == nil {
			t.Fatal("a call that was not answered is done")
		}
		if got := c.Silent(); got != time.Second {
			t.Errorf("silent for %v after a second", got)
		}
		time.Sleep(defaultStall)
		synctest.Wait()
		if got := c.Silent(); got != 0 {
			t.Errorf("silent for %v where nothing is asked", got)
		}
	})
}
