package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// savedPeer is one node of a peers file.
type savedPeer struct {
	Name   string `json:"name"`
	Gossip string `json:"gossip"`
}

// loadPeers reads a peers file: gossip addresses by name. One that does not
// exist is empty.
func loadPeers(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known peers: %w", err)
	}
	var peers []savedPeer
	if err := json.Unmarshal(data, &peers); err != nil {
		return nil, fmt.Errorf("read known peers: %s: %w", path, err)
	}
	out := make(map[string]string, len(peers))
	for _, p := range peers {
		if _, _, err := splitSeed(p.Gossip); err == nil {
			out[p.Name] = p.Gossip
		}
	}
	return out, nil
}

// savePeers replaces a peers file. It does not wait for the disk: a file that
// is lost or old costs nothing but a slower start.
func savePeers(path string, peers []savedPeer) error {
	data, err := json.MarshalIndent(peers, "", "  ")
	if err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	_, err = temp.Write(append(data, '\n'))
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save known peers: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
