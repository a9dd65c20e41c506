package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// load loads a file into the cluster through this node's own HTTP, as any
// client would, once the node is ready. What goes wrong is logged; the node
// serves on.
func (s *server) load(ctx context.Context, path string) {
	logger := s.logger.Named("data")
	totals, err := s.loadFile(ctx, path, func(line client.BulkLine) {
		if line.Error != "" {
			logger.Warn("not stored", "line", line.Line, "error", line.Error)
		}
	})
	switch {
	case ctx.Err() != nil:
		return // the node stops, and has said so
	case err != nil:
		logger.Error("load", "file", path, "stored", totals.Stored, "error", err)
	default:
		logger.Info("loaded", "file", path, "read", totals.Read, "stored", totals.Stored, "failed", totals.Failed)
	}
}

func (s *server) loadFile(ctx context.Context, path string, report func(client.BulkLine)) (client.BulkLine, error) {
	if err := s.awaitReady(ctx); err != nil {
		return client.BulkLine{}, err
	}
	in, err := openInput(path, "", nil)
	if err != nil {
		return client.BulkLine{}, err
	}
	c, err := client.New(s.localAddr())
	if err != nil {
		return client.BulkLine{}, errors.Join(err, in.Close())
	}
	defer c.Close()
	totals, err := c.Import(ctx, in.format, in, report)
	return totals, errors.Join(err, in.Close())
}

// localAddr returns an address of this node's HTTP that works on this machine.
func (s *server) localAddr() string {
	addr := s.http.Addr().(*net.TCPAddr)
	ip := addr.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(addr.Port))
}

// awaitReady waits until the node serves. Its error is ctx's.
func (s *server) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.node.Ready() != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
