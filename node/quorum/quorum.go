// Package quorum decides when enough replicas have answered, and what their
// answers say. It promises that two sets of answers which are each enough have
// a replica in common, and it does nothing else: no I/O, no clocks.
package quorum

import (
	"math/bits"

	"github.com/thunderdb/thunderdb/kv"
)

// MaxReplicas is how many different replicas one operation may deal with, over
// all ring versions that are live.
const MaxReplicas = 64

// Majority returns how many of n replicas are more than half of them.
func Majority(n int) int { return n/2 + 1 }

// Need returns how many of n replicas have to answer where asked, as in
// [kv.Op.Need], says so. It is false where there are fewer than asked for.
func Need(asked, n int) (int, bool) {
	switch asked {
	case 0:
		return Majority(n), true
	case kv.All:
		return n, true
	}
	return asked, asked > 0 && asked <= n
}

// Mask is a set of replicas, by their bits.
type Mask uint64

// Has reports whether replica i is in m.
func (m Mask) Has(i int) bool { return m>>i&1 == 1 }

// With returns m and replica i.
func (m Mask) With(i int) Mask { return m | 1<<i }

// Count returns how many replicas are in m.
func (m Mask) Count() int { return bits.OnesCount64(uint64(m)) }

// Group is the replicas of one ring version, and how many of them must agree.
type Group struct {
	Of   Mask
	Need int
}

// Groups are those of all live ring versions.
type Groups []Group

// Reached reports whether those who said yes are enough in every group.
func (g Groups) Reached(yes Mask) bool {
	for i := range g {
		if (yes & g[i].Of).Count() < g[i].Need {
			return false
		}
	}
	return true
}

// Lost reports whether too many said no for the others to be enough.
func (g Groups) Lost(no Mask) bool {
	for i := range g {
		if (g[i].Of &^ no).Count() < g[i].Need {
			return true
		}
	}
	return false
}

// Answer is what one replica says that it holds of a key: nothing, where its
// version is zero.
type Answer struct {
	Replica int
	Entry   kv.Entry
	Full    bool // the entry has its value
}

// Newest returns the answer that supersedes the others, and which replicas hold
// exactly its version. Of two answers of one version a tombstone is the newer:
// see [kv.Entry.Supersedes]. Where nobody holds anything, at is -1. There is at
// least one answer.
func Newest(answers []Answer) (at int, holders Mask) {
	at = -1
	for i := range answers {
		e := &answers[i].Entry
		switch {
		case e.Version.IsZero():
		case at < 0, e.Supersedes(&answers[at].Entry):
			at = i
		case answers[i].Full && !answers[at].Full && !answers[at].Entry.Supersedes(e):
			at = i // the same, and with its value
		}
	}
	for i := range answers {
		if at < 0 || answers[i].Entry.Version == answers[at].Entry.Version {
			holders = holders.With(answers[i].Replica)
		}
	}
	return at, holders
}
