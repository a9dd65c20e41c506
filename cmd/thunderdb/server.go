package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-sockaddr"

	"github.com/thunderdb/thunderdb/httpapi"
	"github.com/thunderdb/thunderdb/membership"
	"github.com/thunderdb/thunderdb/node"
	"github.com/thunderdb/thunderdb/node/peer"
)

// foundingWait is for how long a founder looks for a cluster to join first.
const foundingWait = 5 * time.Second

// server is one node with its listeners: what serve runs once and demo
// several times.
type server struct {
	pool       *membership.Pool
	node       *node.Node
	api        *httpapi.Server
	store      nodeStore
	http, peer net.Listener
	logger     hclog.Logger
	// departs says that the node leaves the cluster before its process ends:
	// see depart.
	departs bool
}

// newServer opens the listeners and the store and puts the parts together. Its
// run starts them.
func newServer(ctx context.Context, cfg *serveConfig, logger hclog.Logger) (s *server, err error) {
	s = &server{logger: logger}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.http, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return s, fmt.Errorf("--http: %w", err)
	}
	if s.peer, err = net.Listen("tcp", cfg.Peer); err != nil {
		return s, fmt.Errorf("--peer: %w", err)
	}
	err = whileOpening(ctx, cfg, s.http, logger.Named("http"), func() (err error) {
		s.store, err = cfg.open(ctx, cfg.Name, logger.Named("store"))
		if err == nil && cfg.empties {
			err = node.Reset(ctx, s.store, cfg.Name, 0)
		}
		return err
	})
	if err != nil {
		return s, err
	}
	facts, err := s.facts(cfg)
	if err != nil {
		return s, err
	}
	s.pool, err = membership.New(membership.Config{
		Name: cfg.Name, Listen: cfg.Gossip, Advertise: cfg.Advertise, Seeds: cfg.Join,
		Known: keepsake{s.store}, Facts: facts, Identify: identify, Logger: logger.Named("membership"),
	})
	if err != nil {
		return s, err
	}
	s.node, err = node.New(ctx, node.Config{
		Name: cfg.Name, Boot: facts.Boot,
		Founder: cfg.founds(), FoundingWait: cfg.foundingWait(),
		Replicas: cfg.Replicas, ForgetAfter: cfg.ForgetAfter,
		TransferRate: cfg.TransferRate, HintDir: cfg.hintDir(),
	}, s.store, s.pool, logger.Named("node"))
	if err != nil {
		return s, cfg.fault(err)
	}
	s.api, err = httpapi.New(
		httpapi.Config{Software: softwareVersion(), Limits: httpapi.Limits{Value: maxValue(s.store, int(cfg.MaxValue))}},
		httpapi.Backend{
			Keys: s.node, Lister: s.node, Cluster: s.node, Members: s.node,
			Load: func(ctx context.Context, report func(int64, error)) httpapi.Load {
				return s.node.Load(ctx, report)
			},
		},
		logger.Named("http"), newRegistry(s.node))
	return s, err
}

// facts returns what this node says of itself by gossip.
func (s *server) facts(cfg *serveConfig) (membership.Facts, error) {
	httpAddr, err := advertised(s.http, cfg.Advertise)
	if err != nil {
		return membership.Facts{}, err
	}
	peerAddr, err := advertised(s.peer, cfg.Advertise)
	if err != nil {
		return membership.Facts{}, err
	}
	return membership.Facts{
		Boot: membership.NewBoot(), HTTP: httpAddr, Peer: peerAddr,
		Founding: cfg.founds(), Weight: cfg.Weight, Zone: cfg.Zone, Software: softwareVersion(),
	}, nil
}

// advertised returns the host:port at which others reach a listener: at host
// where it is given, else where it listens, else, where it listens on every
// interface, at the machine's first private IP.
func advertised(l net.Listener, host string) (string, error) {
	addr := l.Addr().(*net.TCPAddr)
	if host == "" {
		host = addr.IP.String()
		if addr.IP.IsUnspecified() {
			private, err := sockaddr.GetPrivateIP()
			if err != nil || private == "" {
				return "", fmt.Errorf("%s: no private address to tell the other nodes; name one with --advertise", addr)
			}
			host = private
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(addr.Port)), nil
}

// identify asks the node behind a peer address who it is.
func identify(ctx context.Context, addr string) (string, uint64, error) {
	name, boot, _, err := peer.Identify(ctx, nil, addr)
	return name, boot, err
}

// run is runOpen, which closes at last what newServer opened.
func (s *server) run(ctx context.Context) error {
	defer s.close()
	return s.runOpen(ctx)
}

// runOpen runs all parts until ctx ends, one of them fails, or the node has
// left the cluster, and stops them in the reverse order: clients are drained
// while the node still answers, and peers are answered while the pool still
// knows this node. It leaves the store open.
func (s *server) runOpen(ctx context.Context) error {
	ended, anyEnded := context.WithCancel(context.WithoutCancel(ctx))
	defer anyEnded()
	running := s.startParts(context.WithoutCancel(ctx), anyEnded)
	select {
	case <-ctx.Done():
		s.logger.Info("stopping")
		s.end(ended)
	case <-s.node.Left():
		s.logger.Info("stopping, for this node has left the cluster")
	case <-ended.Done():
		s.logger.Info("stopping")
	}
	s.node.Stopping()
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		errs = append(errs, running[i]())
	}
	return errors.Join(errs...)
}

// end is what is done before a node that was asked to end stops. ctx ends when
// a part of it has ended.
func (s *server) end(ctx context.Context) {
	if ready := s.node.Ready() == nil; !s.departs || !ready {
		return
	}
	s.node.Stopping() // new clients should go elsewhere already
	depart(ctx, s.node, s.logger)
}

// startParts starts all parts, and calls ended whenever one of them has ended.
// It returns for each what ends it and returns its error.
func (s *server) startParts(ctx context.Context, ended func()) (running []func() error) {
	parts := []struct {
		name string
		run  func(context.Context) error
	}{
		{"membership", s.pool.Run},
		{"node", func(ctx context.Context) error { return s.node.Run(ctx, s.peer) }},
		{"http", func(ctx context.Context) error { return s.api.Serve(ctx, s.http) }},
	}
	for _, part := range parts {
		partCtx, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			err := part.run(partCtx)
			if err != nil {
				err = fmt.Errorf("%s: %w", part.name, err)
			}
			ended()
			done <- err
		}()
		running = append(running, func() error {
			end()
			return <-done
		})
	}
	return running
}

// close closes what newServer opened; the listeners may be closed already.
func (s *server) close() {
	for _, l := range []net.Listener{s.http, s.peer} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.logger.Error("close the store", "error", err)
		}
	}
}
