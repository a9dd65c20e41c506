package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// awaitStatus waits until a node has a member in this state.
func awaitStatus(t *testing.T, n *node, member, status string) {
	t.Helper()
	await(t, time.Minute, func() error {
		st, err := n.status()
		if err != nil {
			return err
		}
		if m := st.Member(member); m == nil || m.Status != status {
			return fmt.Errorf("%s sees %+v", n.name, m)
		}
		return nil
	})
}

func ringVersion(t *testing.T, n *node) uint64 {
	t.Helper()
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	return st.RingVersion
}

// awaitRing waits until a node has this ring version or a later one.
func awaitRing(t *testing.T, n *node, version uint64) {
	t.Helper()
	await(t, time.Minute, func() error {
		st, err := n.status()
		if err == nil && st.RingVersion < version {
			err = fmt.Errorf("%s has ring version %d, want %d", n.name, st.RingVersion, version)
		}
		return err
	})
}

// signal sends a signal to the process.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// endsWell waits until a node has ended by itself, with exit code 0.
func (n *node) endsWell(t *testing.T) {
	t.Helper()
	if err := n.ended(t); err != nil {
		t.Errorf("%s ended with %v", n.name, err)
	}
}

// ended waits until a node has ended by itself, and returns how.
func (n *node) ended(t *testing.T) error {
	t.Helper()
	ended := make(chan error, 1)
	cmd := n.cmd
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		n.cmd = nil
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("%s still runs", n.name)
		return nil
	}
}
