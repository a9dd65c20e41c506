package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/client"
)

// The command line's contract, as scripts that run the program in processes of
// its own. Beside testscript's commands there are
//
//	cluster [COUNT]          start nodes; THUNDERDB_ADDR is the first's address,
//	                         and NODE1 and so on are all of them
//	exits CODE COMMAND ...   like exec, of a command that ends with CODE
//	pack FILE PACKED         compress to .gz or .zst, as the name says
//	random BYTES FILE        write bytes of every kind, always the same
//
// and NOT_TEXT, which is not UTF-8.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NOT_TEXT", "\xff\xfe")        // which a script cannot hold
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every command ends a second later
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cluster": scriptCluster,
			"exits":   scriptExits,
			"pack":    scriptPack,
			"random":  scriptRandom,
		},
	})
}

func scriptCluster(ts *testscript.TestScript, _ bool, args []string) {
	count := 1
	if len(args) == 1 {
		var err error
		count, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	c, err := startCluster(count)
	ts.Check(err)
	ts.Defer(func() { ts.Check(c.stop()) })
	for i, addr := range c.addrs {
		ts.Setenv(fmt.Sprintf("NODE%d", i+1), addr)
	}
	ts.Setenv("THUNDERDB_ADDR", c.addrs[0])
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exits with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

func scriptPack(ts *testscript.TestScript, _ bool, args []string) {
	var packed bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&packed)
	if strings.HasSuffix(args[1], ".zst") {
		var err error
		w, err = zstd.NewWriter(&packed)
		ts.Check(err)
	}
	_, err := io.WriteString(w, ts.ReadFile(args[0]))
	ts.Check(errors.Join(err, w.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), packed.Bytes(), 0o600))
}

func scriptRandom(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * i / 255)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// cluster is nodes in this process, as demo has them.
type cluster struct {
	addrs []string
	stop  func() error
}

// startCluster starts nodes on free ports and returns when they are ready.
func startCluster(count int) (*cluster, error) {
	servers, err := newDemo(context.Background(), defaultConfig(), count, io.Discard)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	nodes, ctx := errgroup.WithContext(ctx)
	c := &cluster{stop: func() error { cancel(); return nodes.Wait() }}
	for _, s := range servers {
		nodes.Go(func() error { return s.run(ctx) })
	}
	for _, s := range servers {
		if err := s.awaitReady(ctx); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.addrs = append(c.addrs, "http://"+s.localAddr())
	}
	if err := c.settle(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// settle waits until every node sees all the others alive.
func (c *cluster) settle(ctx context.Context) error {
	for _, addr := range c.addrs {
		db, err := client.New(addr)
		if err != nil {
			return err
		}
		defer db.Close()
		err = poll(ctx, func() (bool, error) {
			state, err := db.Cluster(ctx)
			if err != nil || !state.Settled || len(state.Members) < len(c.addrs) {
				return false, err
			}
			return !slices.ContainsFunc(state.Members, func(m client.Member) bool { return m.Status != "alive" }), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// poll waits until done says so, or returns its error.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
