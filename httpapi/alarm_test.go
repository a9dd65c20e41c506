package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pipe returns a conn and its other end, in the time of a synctest bubble.
func pipe(t *testing.T) (*conn, net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return newConn(a), b
}

// However often a deadline is moved, it passes when it was last wanted.
func TestAlarm(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		moves []time.Duration // from the beginning; 0 is never
		want  time.Duration
	}{
		"once":                {[]time.Duration{time.Second}, time.Second},
		"later":               {[]time.Duration{time.Second, time.Minute}, time.Minute},
		"earlier":             {[]time.Duration{time.Minute, time.Second}, time.Second},
		"never, then later":   {[]time.Duration{time.Second, 0, 2 * time.Minute}, 2 * time.Minute},
		"at once":             {[]time.Duration{time.Minute, -time.Second}, 0},
		"at once, then later": {[]time.Duration{-time.Second, 0, 3 * time.Second}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := pipe(t)
				begin := time.Now()
				for _, move := range test.moves {
					at := begin.Add(move)
					if move == 0 {
						at = time.Time{}
					}
					if err := c.SetDeadline(at); err != nil {
						t.Fatal(err)
					}
				}
				_, err := c.Read(make([]byte, 1))
				if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != test.want {
					t.Errorf("read: %v after %v, want %v", err, took, test.want)
				}
				_, err = c.Write([]byte("x"))
				if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != test.want {
					t.Errorf("write: %v after %v, want %v", err, took, test.want)
				}
			})
		})
	}
}

// A deadline in the past ends a read that waits, as net/http needs it.
func TestAlarmAbortsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, other := pipe(t)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_ = c.SetReadDeadline(time.Time{})
		failed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		go func() { _, _ = other.Write([]byte("x")) }()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("after it: %d, %v", n, err)
		}
	})
}

// A write that an early alarm interrupts goes on where it was.
func TestAlarmSparesWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, other := pipe(t)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_ = c.SetWriteDeadline(time.Now().Add(time.Hour))
		go func() {
			if n, err := c.Write([]byte("abcdef")); n != 6 || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			_ = c.Close()
		}()
		half := make([]byte, 3)
		_, _ = io.ReadFull(other, half)
		time.Sleep(time.Minute)
		if rest, err := io.ReadAll(other); string(half)+string(rest) != "abcdef" || err != nil {
			t.Errorf("%q, %q, %v", half, rest, err)
		}
	})
}

// A deadline is a context, as context.WithTimeout would have made it.
func TestDeadline(t *testing.T) {
	t.Parallel()
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), time.Hour)
		defer cancel()
		begin := time.Now()
		d := newDeadline(parent, time.Minute)
		if at, ok := d.Deadline(); !ok || !at.Equal(begin.Add(time.Minute)) || d.Err() != nil || d.Value(key{}) != 1 {
			t.Errorf("deadline %v, error %v", at, d.Err())
		}
		child, stop := context.WithCancel(d)
		defer stop()
		<-child.Done()
		if took := time.Since(begin); took != time.Minute || !errors.Is(child.Err(), context.DeadlineExceeded) ||
			!errors.Is(d.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v: %v, %v", took, child.Err(), d.Err())
		}
		d.end()

		d = newDeadline(parent, 2*time.Hour)
		if at, _ := d.Deadline(); !at.Equal(begin.Add(time.Hour)) {
			t.Errorf("deadline %v is not the parent's", at)
		}
		done := d.Done()
		cancel()
		<-done
		if !errors.Is(d.Err(), context.Canceled) {
			t.Errorf("error %v", d.Err())
		}

		d = newDeadline(t.Context(), time.Minute)
		d.end()
		<-d.Done()
		if !errors.Is(d.Err(), context.Canceled) {
			t.Errorf("after its end: %v", d.Err())
		}
	})
}
