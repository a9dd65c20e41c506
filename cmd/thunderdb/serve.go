package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/thunderdb/thunderdb/node"
)

// serveConfig is the flags of serve, one field each.
type serveConfig struct {
	Name                              string
	HTTP, Gossip, Peer, Advertise     string
	Join                              []string
	Bootstrap                         bool
	Replicas                          int
	ForgetAfter                       time.Duration
	TransferRateText                  string
	Data                              string
	Weight                            int
	Zone                              string
	LogLevel, LogFormat, MaxValueText string

	MaxValue     uint64 // bytes, parsed from MaxValueText
	TransferRate int64  // bytes a second, parsed from TransferRateText; 0 is no limit

	// rejoins says that the node was a member before: it founds nothing.
	rejoins bool
	// empties says that the store is made another than it was when it is opened.
	empties bool

	storeFlags
}

// Defaults of flags.
const (
	defaultReplicas    = 3
	defaultForgetAfter = time.Hour
)

// maxReplicas is how many replicas may be asked for.
const maxReplicas = 7

func newServeCommand() *cobra.Command {
	host, _ := os.Hostname()
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start a node",
		Long: `Start a node. Alone it founds a cluster; with --join it joins the one that the
seeds belong to, and tries them for ever.`,
		Example: `  thunderdb serve
  thunderdb serve --name n2 --http 127.0.0.1:8081 --gossip 127.0.0.1:7956 --peer 127.0.0.1:7957 --join 127.0.0.1:7946`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := cfg.validate()
			if cmd.Flags().Changed("join") && len(cfg.Join) == 0 {
				err = errors.New("--join is empty: a node without seeds founds a cluster of its own")
			}
			if err != nil {
				return usageError{err}
			}
			return serve(cmd.Context(), &cfg, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Name, "name", host, "name of the node, unique in the cluster")
	f.StringVar(&cfg.HTTP, "http", "127.0.0.1:8080", "host:port for clients")
	f.StringVar(&cfg.Gossip, "gossip", "127.0.0.1:7946", "host:port for gossip, UDP and TCP")
	f.StringVar(&cfg.Peer, "peer", "127.0.0.1:7947", "host:port for the other nodes")
	f.StringVar(&cfg.Advertise, "advertise", "", "host that others reach this node at (default: where it listens)")
	f.StringSliceVar(&cfg.Join, "join", nil, "gossip host:port of a node of the cluster to join; repeatable, comma-separated, and a DNS name may stand for many")
	f.BoolVar(&cfg.Bootstrap, "bootstrap", false, "found a cluster when for 5 s no seed that answers is in one; implied without --join")
	f.StringVar(&cfg.Store, "store", storeMemory, "where entries are kept: memory, disk:DIR, redis://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...][/DB] or memcached://HOST:PORT[,HOST:PORT...]")
	f.BoolVar(&cfg.Sync, "sync", true, "with --store disk:DIR, acknowledge a write when it is on the disk. Without, a crash of the process or of the machine loses the last writes, acknowledged ones included")
	f.StringVar(&cfg.MaxMemoryText, "max-memory", "", "what --store memory may take; above it writes get 507, while reads and deletes go on (default: no limit)")
	f.IntVar(&cfg.Replicas, "replicas", defaultReplicas, "nodes that hold each key, 1 to 7, or as many as there are; the founder of a cluster says it for all")
	f.DurationVar(&cfg.ForgetAfter, "forget-after", defaultForgetAfter, "remove a member that was down for this long, where nothing is lost by it; 0 is never")
	f.StringVar(&cfg.TransferRateText, "transfer-rate", "", "most bytes a second that this node takes over when data moves or is repaired, as in 64MiB (default: no limit)")
	f.StringVar(&cfg.Data, "data", "", "load this file in the background, as thunderdb import does")
	f.IntVar(&cfg.Weight, "weight", 1, "share of the keys that this node takes, relative to the others'")
	f.StringVar(&cfg.Zone, "zone", "", "failure zone of this node")
	f.StringVar(&cfg.MaxValueText, "max-value", "1MiB", "largest value that is taken")
	f.StringVar(&cfg.LogLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.StringVar(&cfg.LogFormat, "log-format", "text", "text or json")
	return cmd
}

// defaultConfig returns the configuration of a node on loopback and on free
// ports, with the defaults of the flags, for nodes that no command line is
// about.
func defaultConfig() serveConfig {
	return serveConfig{
		HTTP: "127.0.0.1:0", Gossip: "127.0.0.1:0", Peer: "127.0.0.1:0",
		storeFlags: storeFlags{Store: storeMemory, Sync: true},
		Replicas:   defaultReplicas, ForgetAfter: defaultForgetAfter, Weight: 1,
		MaxValueText: "1MiB", LogLevel: "error", LogFormat: "text",
	}
}

// founds reports whether the node may found a cluster.
func (c *serveConfig) founds() bool { return !c.rejoins && (c.Bootstrap || len(c.Join) == 0) }

// foundingWait is nothing where there is nobody to wait for.
func (c *serveConfig) foundingWait() time.Duration {
	if len(c.Join) == 0 {
		return 0
	}
	return foundingWait
}

// maxMaxValue is the largest value limit that may be asked for, in bytes: a
// value is held in memory while it travels.
const maxMaxValue = 64 << 20

func (c *serveConfig) validate() error {
	var err error
	if c.MaxValue, err = humanize.ParseBytes(c.MaxValueText); err != nil || c.MaxValue < 1 || c.MaxValue > maxMaxValue {
		return fmt.Errorf("--max-value %q: want a size from 1B to 64MiB", c.MaxValueText)
	}
	if err := c.storeFlags.validate(); err != nil {
		return err
	}
	if err := c.parseTransferRate(); err != nil {
		return err
	}
	for _, a := range []struct{ flag, addr string }{{"http", c.HTTP}, {"gossip", c.Gossip}, {"peer", c.Peer}} {
		if _, _, err := splitPort(a.addr); err != nil {
			return fmt.Errorf("--%s %q: %w", a.flag, a.addr, err)
		}
	}
	switch {
	case c.Name == "":
		return errors.New("--name is empty")
	case c.Weight < 1:
		return fmt.Errorf("--weight %d: want at least 1", c.Weight)
	case c.Replicas < 1 || c.Replicas > maxReplicas:
		return fmt.Errorf("--replicas %d: want 1 to %d", c.Replicas, maxReplicas)
	case c.ForgetAfter < 0:
		return fmt.Errorf("--forget-after %s: want a duration, or 0 for never", c.ForgetAfter)
	case hclog.LevelFromString(c.LogLevel) == hclog.NoLevel:
		return fmt.Errorf("--log-level %q: want trace, debug, info, warn or error", c.LogLevel)
	case c.LogFormat != "text" && c.LogFormat != "json":
		return fmt.Errorf("--log-format %q: want text or json", c.LogFormat)
	}
	if c.Data != "" {
		if _, err := os.Stat(c.Data); err != nil {
			return fmt.Errorf("--data: %w", err)
		}
	}
	return nil
}

func (c *serveConfig) parseTransferRate() error {
	if c.TransferRateText == "" {
		return nil
	}
	rate, err := humanize.ParseBytes(c.TransferRateText)
	if err != nil || rate < 1 || rate > 1<<62 {
		return fmt.Errorf("--transfer-rate %q: want bytes a second, as in 64MiB", c.TransferRateText)
	}
	c.TransferRate = int64(rate)
	return nil
}

// logger writes to out in the format that was asked for.
func (c *serveConfig) logger(out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "thunderdb", Output: out,
		Level:      hclog.LevelFromString(c.LogLevel),
		JSONFormat: c.LogFormat == "json",
	})
}

// serve runs a node until ctx ends or it has left the cluster. Where it finds
// that it was removed from the cluster while it was away, or that its store has
// lost what it held, it starts over as a node that never was a member.
func serve(ctx context.Context, cfg *serveConfig, logs io.Writer) error {
	logger := cfg.logger(logs)
	for {
		next, err := serveLife(ctx, cfg, logger)
		if next == nil {
			return err
		}
		cfg = next
	}
}

// serveLife runs a node as one member of a cluster. It returns the
// configuration to go on with, nil where that is not wanted.
func serveLife(ctx context.Context, cfg *serveConfig, logger hclog.Logger) (*serveConfig, error) {
	s, err := newServer(ctx, cfg, logger)
	switch {
	case err != nil && ctx.Err() != nil: // it was stopped before it began
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer s.close()
	s.departs = !cfg.outlives()
	logger.Info("serving", "name", cfg.Name, "http", s.http.Addr().String(), "peer", s.peer.Addr().String(), "version", softwareVersion())
	loading, stop := context.WithCancel(ctx)
	var load errgroup.Group
	if cfg.Data != "" {
		load.Go(func() error {
			s.load(loading, cfg.Data)
			return nil
		})
	}
	err = s.runOpen(ctx)
	stop()
	_ = load.Wait() // it has logged what was wrong
	if errors.Is(err, node.ErrLostStore) && ctx.Err() == nil {
		next := s.afterLoss(cfg)
		logger.Warn("the store has lost what it held: this node goes on as another member, over what the store has",
			"name", cfg.Name, "store", cfg.shown(), "empties", next.empties, "founds", next.founds())
		return next, nil
	}
	if errors.Is(err, node.ErrRemoved) && ctx.Err() == nil {
		logger.Warn("the cluster has gone on without this node's store: it is emptied, and the node joins anew",
			"name", cfg.Name, "store", cfg.shown(), "error", err)
		return s.startOver(ctx, cfg)
	}
	return nil, err
}
