package membership

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Keepsake is where a pool keeps what it wants to know again after a restart.
type Keepsake interface {
	// Load returns what was saved last, nil where nothing was.
	Load() ([]byte, error)
	// Save replaces what is saved. It may take its time.
	Save(data []byte) error
}

// knownPeer is one node that was met.
type knownPeer struct {
	Name   string `json:"name"`
	Gossip string `json:"gossip"`
}

// loadKnown returns the gossip addresses of the nodes that were met in an
// earlier life, by name.
func loadKnown(from Keepsake) (map[string]string, error) {
	data, err := from.Load()
	if err != nil {
		return nil, fmt.Errorf("load known peers: %w", err)
	}
	if data == nil {
		return nil, nil
	}
	var peers []knownPeer
	if err := json.Unmarshal(data, &peers); err != nil {
		return nil, fmt.Errorf("load known peers: %w", err)
	}
	out := make(map[string]string, len(peers))
	for _, p := range peers {
		if _, _, err := splitSeed(p.Gossip); err == nil {
			out[p.Name] = p.Gossip
		}
	}
	return out, nil
}

func saveKnown(to Keepsake, peers []knownPeer) error {
	data, err := json.Marshal(peers)
	if err == nil {
		err = to.Save(data)
	}
	if err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	return nil
}

// remember saves the known peers whenever they have changed, until ctx ends.
// One save that is missing costs nothing but a slower start.
func (p *Pool) remember(ctx context.Context) {
	if p.cfg.Known == nil {
		return
	}
	tick := time.NewTicker(p.cfg.Timing.Probe)
	defer tick.Stop()
	var saved []knownPeer
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		peers := p.table.known()
		if slices.Equal(peers, saved) {
			continue
		}
		if err := saveKnown(p.cfg.Known, peers); err == nil {
			saved = peers
		} else if p.seldom.allows("save", time.Now()) {
			p.log.Warn("peers not remembered", "error", err)
		}
	}
}
