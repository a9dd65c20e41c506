package pebblekv

import (
	"runtime"
	"sync"

	"github.com/thunderdb/thunderdb/kv"
)

// Many callers that each write a little are served together:
//
//  1. The first that comes leads a group, which others join until it is staged:
//     those who are ready to run when it comes, and those who come while it waits
//     for its turn. Nobody waits for more to come.
//  2. The leader stages what all of them offer as one piece, sorted by key and
//     those of a key as they came: with one view of what is held, one batch of
//     Pebble's and one change of the counts.
//  3. Its turn ends before the sync, so that the next group is staged meanwhile.
//     It is told to all when the sync is done, and the keys are locked until then.
//  4. An entry that there is no room for, or whose key's old entry cannot be read,
//     fails its caller alone. What fails the batch fails all.
//  5. What is large is staged by its own caller, beside the groups, and so is all
//     of a store that does not sync: there is nothing to share.
const (
	// A piece of at most so many keys and bytes is committed in a group.
	smallKeys  = 32
	smallBytes = 64 << 10
)

// groups is the groups of an engine.
type groups struct {
	turns chan struct{} // holds one for each group that is being staged

	mu   sync.Mutex // guards next, and who is in it
	next *group     // the one that can be joined, or nil
}

// newGroups returns groups of which half as many are staged at once as there
// are processors: the callers need the others.
func newGroups() groups {
	return groups{turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// group is what is committed together.
type group struct {
	places []place // not sorted
	bytes  int64
	order  int32         // of who joins next
	done   chan struct{} // closed when err is known
	err    error         // of the batch
}

// join adds places of one caller, which take so many bytes, to a group. Who
// leads it has to commit it.
func (gs *groups) join(places []place, bytes int64) (g *group, leads bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g = gs.next
	if g == nil || len(g.places)+len(places) > pieceKeys || g.bytes+bytes > pieceBytes {
		// Until the leader has said how it went, it went wrong.
		g, leads = &group{done: make(chan struct{}), err: kv.ErrUnavailable}, true
		gs.next = g
	}
	for _, p := range places {
		p.order = g.order
		g.places = append(g.places, p)
	}
	g.order++
	g.bytes += bytes
	return g, leads
}

// end lets nobody join a group any more.
func (gs *groups) end(g *group) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.next == g {
		gs.next = nil
	}
}

// applyPiece applies the entries at the places, in a group where they are few.
func (w *work) applyPiece(places []place) error {
	bytes := int64(0)
	for _, p := range places {
		bytes += sizeOf(w.entry(p))
	}
	if w.noSync || len(places) > smallKeys || bytes > smallBytes {
		return w.commitPiece(places, (*work).applyKey)
	}
	g, leads := w.groups.join(places, bytes)
	if leads {
		w.lead(g)
	} else {
		<-g.done
	}
	return g.err
}

// lead commits a group.
func (w *work) lead(g *group) {
	defer close(g.done)
	l := works.Get().(*work)
	defer l.release()
	l.engine = w.engine
	defer l.unlock()
	defer l.closeBatch()
	if g.err = l.stageGroup(g); g.err == nil {
		g.err = l.settle(true)
	}
}

// stageGroup stages a group when it is its turn.
func (w *work) stageGroup(g *group) error {
	if w.users.several() {
		runtime.Gosched() // those who are ready to run may join
	}
	w.groups.turns <- struct{}{}
	defer func() { <-w.groups.turns }()
	w.groups.end(g)
	sortPlaces(g.places)
	if err := w.stagePiece(g.places, (*work).applyKey); err != nil {
		return err
	}
	return w.send(true)
}
