package nodetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// two returns a network with hosts a and b, and a connection from a to b.
func two(t *testing.T) (n *Network, a, b *Host, there, here net.Conn) {
	t.Helper()
	n = NewNetwork(1)
	a, b = n.Host("a"), n.Host("b")
	l := b.Listen()
	there, err := a.Dial(t.Context(), Addr("b"))
	if err != nil {
		t.Fatal(err)
	}
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return n, a, b, there, here
}

func TestConnIsOne(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		_, a, b, c1, c2 := two(t)
		return c1, c2, func() { a.Crash(); b.Crash() }, nil
	})
}

// read returns what of 16 bytes comes within a second.
func read(c net.Conn) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 16)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t *testing.T, c net.Conn, want string, wantErr error) {
	t.Helper()
	if got, err := read(c); got != want || !errors.Is(err, wantErr) {
		t.Errorf("read %q, %v; want %q, %v", got, err, want, wantErr)
	}
}

func TestStalledBytesArriveWhenItHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, a, _, there, here := two(t)
		n.Cut("a", "b", Stall)
		write(t, there, "one")
		wantRead(t, here, "", os.ErrDeadlineExceeded)
		write(t, here, "back") // the other direction is as it was
		wantRead(t, there, "back", nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dial(ctx, Addr("b")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: %v", err)
		}
		n.Heal()
		wantRead(t, here, "one", nil)
	})
}

func TestStalledWriterFillsTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, _, _, there, here := two(t)
		n.Cut("a", "b", Stall)
		_ = there.SetWriteDeadline(time.Now().Add(time.Second))
		if wrote, err := there.Write(make([]byte, 2*window)); wrote != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", wrote, err)
		}
		n.Heal()
		if got, err := io.ReadFull(here, make([]byte, window)); err != nil {
			t.Errorf("read %d, %v", got, err)
		}
	})
}

func TestBreakResetsAndRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, a, _, there, here := two(t)
		n.Cut("b", "a", Break)
		wantRead(t, here, "", syscall.ECONNRESET)
		if _, err := there.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
		if _, err := a.Dial(t.Context(), Addr("b")); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("dial: %v", err)
		}
		n.Heal()
		if _, err := a.Dial(t.Context(), Addr("b")); err != nil {
			t.Errorf("dial after healing: %v", err)
		}
	})
}

// Nobody can be told of a crash over a cut network.
func TestCrashIsHeardOfAsFarAsTheNetworkGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, a, b, there, _ := two(t)
		n.Cut("b", "a", Stall)
		b.Crash()
		wantRead(t, there, "", os.ErrDeadlineExceeded)
		n.Heal()
		wantRead(t, there, "", syscall.ECONNRESET)
		if _, err := a.Dial(t.Context(), Addr("b")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		if _, err := b.Dial(t.Context(), Addr("a")); !errors.Is(err, errCrashed) {
			t.Errorf("dial by the dead: %v", err)
		}
	})
}

func TestPausedHostIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, a, _, there, here := two(t)
		n.Pause("b")
		write(t, there, "one")
		begun := time.Now()
		time.AfterFunc(time.Minute, func() { n.Resume("b") })
		if _, err := a.Dial(t.Context(), Addr("b")); err != nil {
			t.Errorf("dial a paused host: %v", err) // its kernel answers
		}
		if got, err := read(here); err == nil || time.Since(begun) < time.Minute {
			t.Errorf("a paused host read %q, %v after %v", got, err, time.Since(begun))
		}
		wantRead(t, here, "one", nil)
		write(t, here, "before")
		n.Pause("b")
		write(t, here, "after")
		_ = here.Close() // by one of its timers
		wantRead(t, there, "before", nil)
		wantRead(t, there, "", os.ErrDeadlineExceeded)
		n.Resume("b")
		wantRead(t, there, "after", nil)
		wantRead(t, there, "", io.EOF)
	})
}

// Whatever the network does, bytes arrive in order, each once, and late.
func TestBytesArriveInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, there, here := two(t)
			dice := rand.New(rand.NewPCG(seed, 0))
			n.Transit("a", "b", Transit{Delay: time.Second, Jitter: time.Second, Loss: 0.05})
			sent := make([]byte, 1<<20)
			for i := range sent {
				sent[i] = byte(dice.Uint32())
			}
			begun := time.Now()
			go func() {
				for at := 0; at < len(sent); {
					next := min(len(sent), at+1+dice.IntN(64<<10))
					if _, err := there.Write(sent[at:next]); err != nil {
						t.Errorf("seed %d: %v", seed, err)
						break
					}
					at = next
				}
				_ = there.Close()
			}()
			got, err := io.ReadAll(here)
			if err != nil || !bytes.Equal(got, sent) || time.Since(begun) < time.Second {
				t.Errorf("seed %d: %d bytes of %d, %v, in %v", seed, len(got), len(sent), err, time.Since(begun))
			}
		})
	}
}

func TestLossBreaksInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, a, _, there, here := two(t)
		n.TransitAll(Transit{Loss: 1})
		write(t, there, "x")
		_ = here.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("read: %v", err)
		}
		if _, err := a.Dial(t.Context(), Addr("b")); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dial: %v", err)
		}
	})
}
