package topology

import "github.com/thunderdb/thunderdb/ring"

// When a node may go on with a change of the ring. All members of every version
// from the oldest live one up to v are asked for, but those that the newest
// record forgets: they are gone.

// Numbers is how far a storage identity is with changes of the ring, each a
// version. They only rise, so that they may arrive late, twice and in any order.
type Numbers struct {
	// Ack: it knows this version, and nothing that it admitted under an older one
	// is in flight.
	Ack uint64 `json:"ack"`
	// Sync: it holds what this version assigns to it.
	Sync uint64 `json:"sync"`
	// Done: it knows that all have synced this version, and reads from it.
	Done uint64 `json:"done"`
}

// merge returns the greater of each number.
func (n Numbers) merge(o Numbers) Numbers {
	return Numbers{Ack: max(n.Ack, o.Ack), Sync: max(n.Sync, o.Sync), Done: max(n.Done, o.Done)}
}

// all reports whether a number of everybody who is concerned by version v has
// reached it.
func (l *ledger) all(v uint64, number func(Numbers) uint64) bool {
	for m := range l.concerned(v) {
		if number(l.Numbers[m.Storage]) < v {
			return false
		}
	}
	return true
}

// concerned yields the members of all live versions up to v, but the forgotten,
// some of them more than once.
func (l *ledger) concerned(v uint64) func(yield func(ring.Member) bool) {
	return func(yield func(ring.Member) bool) {
		for i := range l.Records {
			if l.Records[i].Version > v {
				return
			}
			for _, m := range l.Records[i].Members {
				if _, forgotten := l.removed(m.Storage); !forgotten && !yield(m) {
					return
				}
			}
		}
	}
}

// allAcked reports whether nobody writes without the replicas of version v any
// more, so that syncing it may begin.
func (l *ledger) allAcked(v uint64) bool {
	return l.all(v, func(n Numbers) uint64 { return n.Ack })
}

// allDone reports whether nobody reads from a version before v any more, so
// that they may be dropped.
func (l *ledger) allDone(v uint64) bool {
	return l.all(v, func(n Numbers) uint64 { return n.Done })
}

// allSynced reports whether reads may move to version v: every member of it has
// synced it, and none has been forgotten since.
func (l *ledger) allSynced(v uint64) bool {
	r := l.record(v)
	if r == nil {
		return false
	}
	for _, m := range r.Members {
		if _, forgotten := l.removed(m.Storage); forgotten || l.Numbers[m.Storage].Sync < v {
			return false
		}
	}
	return true
}

// toSync returns the version that this node has to sync next, 0 where it may
// not sync any yet.
func (l *ledger) toSync() uint64 {
	// Of what all have synced already, nothing is this node's.
	v := max(l.own().Sync, l.Read) + 1
	if v > l.hi() || !l.takesPart() || !l.allAcked(v) {
		return 0
	}
	return v
}

// advance draws all conclusions from what is known: moves reads, says that it
// is done, and drops versions.
func (l *ledger) advance() {
	for v := l.hi(); v > l.Read; v-- {
		if l.allSynced(v) {
			l.Read = v
		}
	}
	if l.takesPart() {
		l.raise(Numbers{Done: l.Read})
	}
	for v := l.lo() + 1; v <= l.Read; v++ {
		if l.allDone(v) {
			l.drop(v)
		}
	}
}

// raise raises this node's own numbers.
func (l *ledger) raise(n Numbers) { l.Numbers[l.Storage] = l.own().merge(n) }
