package membership

import (
	"slices"
	"strings"
)

// Status is what the pool makes of a node.
type Status string

// The statuses, as they stand in the contract with users.
const (
	// Alive is a member of the ring that is up.
	Alive Status = "alive"
	// Suspect is a node that did not answer this node's last probe. Unless it
	// answers soon it is Down.
	Suspect Status = "suspect"
	// Down is a node that was up and is no longer.
	Down Status = "down"
	// Joining is a node that is up and not in the ring, or one that has not
	// found out yet whether its name is free.
	Joining Status = "joining"
	// Leaving is a node that is up and says that it leaves.
	Leaving Status = "leaving"
)

// Node is one node of the pool.
type Node struct {
	Name   string
	Gossip string // host:port of its gossip; the host is an IP
	Facts
	Status Status
}

// View is what the pool looked like at one moment. It never changes.
type View struct {
	nodes []Node // sorted by name, each name once
}

// NewView returns a view of nodes, whose names differ. It keeps the slice, and
// sorts it.
func NewView(nodes []Node) *View {
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return &View{nodes: nodes}
}

// Nodes returns all nodes, this one included, sorted by name. The caller must
// not change them.
func (v *View) Nodes() []Node { return v.nodes }

// Find returns the node of that name, and whether there is one.
func (v *View) Find(name string) (Node, bool) {
	i, ok := slices.BinarySearchFunc(v.nodes, name, func(n Node, name string) int {
		return strings.Compare(n.Name, name)
	})
	if !ok {
		return Node{}, false
	}
	return v.nodes[i], true
}

// status returns what a node that is up looks like from its own words.
func (f *Facts) status() Status {
	switch {
	case f.Leaving:
		return Leaving
	case f.Member:
		return Alive
	}
	return Joining
}
