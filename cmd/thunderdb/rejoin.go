package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/thunderdb/thunderdb/node"
)

// startOver empties the store of a node that was removed from its cluster and
// has stopped, and returns the configuration under which it joins anew: as
// another member, at the same addresses, and never as a founder. What it held
// the other members have long handed on without it, and have since replaced or
// deleted.
func (s *server) startOver(ctx context.Context, cfg *serveConfig) (*serveConfig, error) {
	partitions := 0
	if r := s.node.Ring(); r != nil {
		partitions = r.Partitions()
	}
	if err := node.Reset(ctx, s.store, cfg.Name, partitions); err != nil {
		return nil, cfg.fault(fmt.Errorf("empty the store: %w", err))
	}
	if dir := cfg.hintDir(); dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			return nil, cfg.fault(fmt.Errorf("remove the hints: %w", err))
		}
	}
	next := s.again(cfg)
	return &next, nil
}

// afterLoss returns the configuration under which a node goes on whose store has
// lost what it held. In a cluster of others it joins anew, over a store that is
// emptied: they have what is lost, and what is left may be older. Alone it is a
// fresh node over what is left, for nobody else has any of it.
func (s *server) afterLoss(cfg *serveConfig) *serveConfig {
	r := s.node.Ring()
	if r != nil && (len(r.Members()) > 1 || s.node.Upkeep().Changing) {
		next := s.again(cfg)
		next.empties = true
		return &next
	}
	next := *cfg
	s.keepAddresses(&next)
	next.rejoins, next.empties = next.rejoins && r == nil, false
	return &next
}

// again returns the configuration of a node that joins its cluster anew.
func (s *server) again(cfg *serveConfig) serveConfig {
	next := *cfg
	next.rejoins, next.empties = true, false
	s.keepAddresses(&next)
	// The store, which knew them, is empty.
	next.Join = slices.Clone(cfg.Join)
	for _, n := range s.pool.View().Nodes() {
		if n.Name != cfg.Name && n.Gossip != "" && !slices.Contains(next.Join, n.Gossip) {
			next.Join = append(next.Join, n.Gossip)
		}
	}
	return next
}

// keepAddresses has a configuration name the addresses that the node has.
func (s *server) keepAddresses(next *serveConfig) {
	next.HTTP = atPort(next.HTTP, s.http.Addr().String())
	next.Peer = atPort(next.Peer, s.peer.Addr().String())
	next.Gossip = atPort(next.Gossip, s.pool.Addr())
}

// atPort returns addr with the port that was found for it, where it asks for
// any.
func atPort(addr, found string) string {
	host, port, err := splitPort(addr)
	_, at, foundErr := splitPort(found)
	if err != nil || foundErr != nil || port != 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(at))
}
