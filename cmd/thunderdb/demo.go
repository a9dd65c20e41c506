package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// maxDemoNodes bounds what one process is asked to hold.
const maxDemoNodes = 32

func newDemoCommand() *cobra.Command {
	var nodes int
	var first string
	cfg := defaultConfig()
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Run a cluster in one process, to try things out",
		Long:    "Run a cluster in one process on loopback, with up to three replicas of each key.\nEverything is gone when it ends: press Ctrl-C.",
		Example: "  thunderdb demo\n  thunderdb demo --nodes 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if nodes < 1 || nodes > maxDemoNodes {
				return usageError{fmt.Errorf("--nodes %d: want 1 to %d", nodes, maxDemoNodes)}
			}
			cfg.HTTP = first
			return demo(cmd.Context(), cfg, nodes, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&nodes, "nodes", 3, "how many nodes")
	f.StringVar(&first, "http", "127.0.0.1:8080", "host:port of the first node; the others take the next ports")
	f.StringVar(&cfg.LogLevel, "log-level", "warn", "trace, debug, info, warn or error")
	return cmd
}

// demo runs a cluster of nodes until ctx ends.
func demo(ctx context.Context, cfg serveConfig, nodes int, stdout, stderr io.Writer) error {
	servers, err := newDemo(ctx, cfg, nodes, stderr)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range servers {
		group.Go(func() error { return s.run(ctx) })
	}
	group.Go(func() error {
		for _, s := range servers {
			if s.awaitReady(ctx) != nil {
				return nil // it was stopped before it began
			}
		}
		return greet(stdout, servers)
	})
	return group.Wait()
}

// newDemo makes the nodes: the first founds, the others join it.
func newDemo(ctx context.Context, base serveConfig, nodes int, logs io.Writer) ([]*server, error) {
	host, port, err := splitPort(base.HTTP)
	if err != nil {
		return nil, usageError{fmt.Errorf("--http: %w", err)}
	}
	var servers []*server
	for i := range nodes {
		cfg := base
		cfg.Name = fmt.Sprintf("n%d", i+1)
		if port != 0 {
			cfg.HTTP = net.JoinHostPort(host, strconv.Itoa(port+i))
		}
		if i > 0 {
			cfg.Join = []string{servers[0].pool.Addr()}
		}
		err := cfg.validate()
		var s *server
		if err == nil {
			s, err = newServer(ctx, &cfg, cfg.logger(logs).Named(cfg.Name))
		}
		if err != nil {
			for _, s := range servers {
				s.close()
			}
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func splitPort(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", text)
	return host, port, err
}

// greet prints what to try.
func greet(w io.Writer, servers []*server) error {
	first, last := servers[0].localAddr(), servers[len(servers)-1].localAddr()
	_, err := fmt.Fprintf(w, `%d nodes are up. Put a value through one, get it through another:

  curl -X PUT -d 'good morning' http://%[2]s/v1/kv/greeting
  curl http://%[3]s/v1/kv/greeting
  curl http://%[3]s/v1/explain/greeting
  curl http://%[2]s/v1/cluster

Ctrl-C stops them.
`, len(servers), first, last)
	return err
}
