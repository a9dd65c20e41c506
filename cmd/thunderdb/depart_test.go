package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// fakeDeparting is a node that leaves as a test wants it.
type fakeDeparting struct {
	leave  func() error
	left   chan struct{}
	status node.Status
}

func (f *fakeDeparting) Leave(context.Context) error                 { return f.leave() }
func (f *fakeDeparting) Left() <-chan struct{}                       { return f.left }
func (f *fakeDeparting) Status(context.Context) (node.Status, error) { return f.status, nil }
func (f *fakeDeparting) Stats() kv.Stats                             { return kv.Stats{Keys: 7, Bytes: 70} }

// members returns the status of a cluster whose members are as they are called.
func members(states ...string) node.Status {
	var s node.Status
	for _, state := range states {
		s.Members = append(s.Members, node.MemberState{Status: state, Partitions: 1})
	}
	s.Members = append(s.Members, node.MemberState{Status: "joining"}, node.MemberState{Status: "joining"})
	return s
}

// A node that is asked to end goes on as long as that may help, and says what
// came of it.
func TestDepart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		leave  func(f *fakeDeparting) error
		status node.Status
		took   time.Duration
		log    []string
	}{
		"handed over": {
			func() func(f *fakeDeparting) error {
				var begun sync.Once
				return func(f *fakeDeparting) error {
					begun.Do(func() { time.AfterFunc(3*time.Second, func() { close(f.left) }) })
					return nil
				}
			}(), members("alive", "leaving", "down"), 3 * time.Second, []string{"handed over what this node held"},
		},
		"too slow": {
			func(f *fakeDeparting) error {
				f.status.Change = &node.Change{To: 2, WaitingFor: []string{"n2"}, BytesToMove: 70, BytesMoved: 20}
				return nil
			}, members("alive", "leaving"), departTimeout,
			[]string{"not everything was handed over", "keys_held=7", "bytes_to_move=70", "bytes_moved=20", `["n2"]`, "not done in time"},
		},
		"busy for a while": {
			func() func(f *fakeDeparting) error {
				tries := 0
				return func(f *fakeDeparting) error {
					if tries++; tries < 5 {
						return node.ErrBusy
					}
					close(f.left)
					return nil
				}
			}(), members("alive", "alive"), 4 * departPoll, []string{"handed over what this node held"},
		},
		"the only member": {
			func(*fakeDeparting) error { return node.ErrLastMember },
			members("alive"), 0, []string{"the only member", "keys=7"},
		},
		"the others leave first": {
			func(f *fakeDeparting) error {
				if len(f.status.Members) == 3 {
					return node.ErrLastMember
				}
				f.status = members("leaving")
				return nil
			}, members("alive", "alive"), departPoll, []string{"the only member"},
		},
		"no majority": {
			func(*fakeDeparting) error { return errors.New("asked all the same") },
			members("leaving", "down"), 0, []string{"a majority of the members is down", "keys_held=7"},
		},
		"the others end too": {
			func(f *fakeDeparting) error {
				f.status = members("leaving", "down", "down")
				return nil
			}, members("alive", "alive", "alive"), departPoll, []string{"a majority of the members is down"},
		},
		"refused": {
			func(*fakeDeparting) error { return node.ErrTooFew },
			members("alive", "alive"), 0, []string{"not everything was handed over", "too few replicas"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDeparting{left: make(chan struct{}), status: test.status}
				f.leave = func() error { return test.leave(f) }
				var log bytes.Buffer
				begun := time.Now()
				depart(t.Context(), f, hclog.New(&hclog.LoggerOptions{Output: &log}))
				// Every look takes up to a poll.
				if took := time.Since(begun); took < test.took || took > test.took+departPoll {
					t.Errorf("took %s, want %s", took, test.took)
				}
				for _, want := range test.log {
					if !strings.Contains(log.String(), want) {
						t.Errorf("logged %swant %s", &log, want)
					}
				}
			})
		})
	}
}
