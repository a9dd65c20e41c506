package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// redisServer is a redis-server that keeps nothing on disk by itself.
type redisServer struct {
	t    *testing.T
	addr string
	args []string
	cmd  *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no redis-server (Debian's package redis-server)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &redisServer{t: t, addr: l.Addr().String()}
	_, port, _ := net.SplitHostPort(s.addr)
	s.args = []string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--logfile", "log"}
	l.Close()
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *redisServer) start() {
	s.cmd = exec.Command("redis-server", s.args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	err := poll(s.t.Context(), func() (bool, error) {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// command does to the server what a test wants to have done to it.
func (s *redisServer) command(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-h", "127.0.0.1", "-p", s.args[3]}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// age has the server keep on disk what it holds, and waits until that is old
// enough for the node of this name to notice when it is all there is.
func (s *redisServer) age(name string) {
	s.t.Helper()
	s.command("SAVE")
	beat := func() string { return s.command("GET", "thunderdb:{"+name+"}:beat") }
	saved := beat()
	if err := poll(s.t.Context(), func() (bool, error) { return beat() != saved, nil }); err != nil {
		s.t.Fatal(err)
	}
}

// ready waits until a node serves.
func ready(t *testing.T, db *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) { return db.Ready(ctx) == nil, nil }); err != nil {
		t.Fatal(err)
	}
}

// A node alone, whose Redis comes back without its data, goes on with none; and
// with what is there where that is older.
func TestLostStoreAlone(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	p := start(t, "serve", "--name", "alone", "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0",
		"--store", "redis://"+redis.addr)
	db := connect(t, p.await(p.stderr, `serving: .*http=(\S+)`)[0])
	ready(t, db)
	lose := func() {
		t.Helper()
		redis.kill()
		redis.start()
		p.await(p.stderr, `the store has lost what it held: .*empties=false founds=true`)
		p.await(p.stderr, `serving: `)
		ready(t, db)
	}
	if _, err := db.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	lose()
	if _, err := db.Get(t.Context(), "k"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("get of what was lost: %v", err)
	}
	if _, err := db.Put(t.Context(), "k", []byte("w")); err != nil {
		t.Fatal(err)
	}
	redis.age("alone")
	lose()
	if item, err := db.Get(t.Context(), "k"); err != nil || string(item.Value) != "w" {
		t.Errorf("get of what is left: %+v, %v", item, err)
	}
}

// A member whose Redis comes back without its data, or as it was some time ago,
// is another member, and has from the others what was acknowledged.
func TestLostStoreOfAMember(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	args := []string{"serve", "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0"}
	first := start(t, append(args, "--name", "first")...)
	db := connect(t, first.await(first.stderr, `serving: .*http=(\S+)`)[0])
	ready(t, db)
	gossip := func() string {
		state, err := db.Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return state.Members[0].Gossip
	}()
	start(t, append(args, "--name", "third", "--join", gossip)...)
	second := start(t, append(args, "--name", "second", "--join", gossip, "--store", "redis://"+redis.addr)...)
	other := connect(t, second.await(second.stderr, `serving: .*http=(\S+)`)[0])
	members := func() {
		t.Helper()
		err := poll(t.Context(), func() (bool, error) {
			state, err := other.Cluster(t.Context())
			return err == nil && len(state.Members) == 3 && state.Change == nil && other.Ready(t.Context()) == nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	members()
	for round, old := range []bool{false, true} {
		if old {
			redis.age("second")
		}
		for i := range 50 {
			if _, err := db.Put(t.Context(), fmt.Sprint(i), fmt.Append(nil, round)); err != nil {
				t.Fatal(err)
			}
		}
		redis.kill()
		redis.start()
		second.await(second.stderr, `the store has lost what it held: .*empties=true founds=false`)
		second.await(second.stderr, `serving: `)
		members()
		for i := range 50 {
			item, err := other.Get(t.Context(), fmt.Sprint(i))
			if err != nil || string(item.Value) != fmt.Sprint(round) {
				t.Errorf("round %d: get %d: %+v, %v", round, i, item, err)
			}
		}
	}
}
