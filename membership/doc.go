// Package membership keeps the pool: who is up, under which addresses, and a
// few facts that each node says of itself.
//
// It wraps hashicorp/memberlist (SWIM: Das, Gupta and Motivala, 2002, with the
// extensions of Lifeguard: Dadgar et al., 2017) and promises beyond it: views
// are immutable and may be asked for anywhere; nodes that were parted find each
// other again however long it took; nodes of two clusters never mix; a second
// node of a name is told so before it serves; and a node that comes back under
// a new address takes its old place.
package membership
