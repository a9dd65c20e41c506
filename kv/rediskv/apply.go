package rediskv

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// One call of a script is for so many entries, or fewer once their bytes
	// exceed pieceBytes: nobody else is served meanwhile.
	pieceEntries = 128
	pieceBytes   = 256 << 10
	// So many entries, or fewer once their bytes exceed windowBytes, are on
	// their way at once.
	windowEntries = 2048
	windowBytes   = 4 << 20
)

// Apply implements [kv.Store]. A batch is sent in pieces, each of which is
// applied in one step. Where the server is full, tombstones are still taken,
// and entries for which there is no room do not keep it from those behind.
func (s *Store) Apply(ctx context.Context, entries []kv.Entry, done []kv.Applied) error {
	clear(done)
	if len(entries) == 0 {
		return s.do(ctx, "apply", func(context.Context) error { return nil })
	}
	var full error
	for len(entries) > 0 {
		n := window(entries)
		w := &writing{store: s, entries: entries[:n], data: encode(entries[:n])}
		if done != nil {
			w.done, done = done[:n], done[n:]
		}
		err := w.write(ctx)
		if err != nil && !errors.Is(err, kv.ErrFull) {
			return err
		}
		if err != nil {
			full = err
		}
		entries = entries[n:]
	}
	return full
}

// window returns how many of entries are to be on their way at once.
func window(entries []kv.Entry) int {
	size := 0
	for i := range entries {
		size += len(entries[i].Key) + len(entries[i].Value)
		if i == windowEntries || i > 0 && size > windowBytes {
			return i
		}
	}
	return len(entries)
}

// encode returns the entries as bytes.
func encode(entries []kv.Entry) [][]byte {
	size := 0
	for i := range entries {
		size += len(entries[i].Value) + len(entries[i].ContentType) + 32
	}
	data, room := make([][]byte, len(entries)), make([]byte, 0, size)
	for i := range entries {
		start := len(room)
		room = kv.AppendEntry(room, &entries[i])
		data[i] = room[start:len(room):len(room)]
	}
	return data
}

// writing is entries that are on their way.
type writing struct {
	store   *Store
	entries []kv.Entry
	done    []kv.Applied // may be nil
	data    [][]byte     // the entries' bytes
	pieces  []*piece     // those that are not applied yet
	full    bool         // some entry was refused
}

// piece is entries of one group, for one call of a script.
type piece struct {
	at      []int    // where they are among the window's
	keys    []string // of the script: the group's books, and partitions
	args    []any    // of the script
	size    int      // bytes of entries
	script  *redis.Script
	unknown bool // the server does not know the script
	answer  *redis.Cmd
}

// write applies the window. The error is kv.ErrFull, wrapped, where all of it
// was considered.
func (w *writing) write(ctx context.Context) error {
	w.cut()
	err := w.store.do(ctx, "apply", w.send)
	if err == nil && w.full {
		err = w.store.explain("apply", kv.ErrFull)
	}
	return err
}

// cut deals the entries out to pieces, so that those of a key stay in order.
func (w *writing) cut() {
	s := w.store
	open := make(map[int]*piece) // by group
	for i := range w.entries {
		e := &w.entries[i]
		partition, group := s.layout.place(e.Key)
		p := open[group]
		if p == nil || len(p.at) == pieceEntries || p.size > pieceBytes {
			p = &piece{keys: s.layout.books(group), args: []any{s.fencer(), 1}, script: s.scripts.apply}
			open[group] = p
			w.pieces = append(w.pieces, p)
		}
		p.at = append(p.at, i)
		p.keys = append(p.keys, s.layout.hash(partition))
		p.args = append(p.args, e.Key, w.data[i])
		p.size += len(e.Key) + len(w.data[i])
	}
	for _, p := range w.pieces {
		_, group := s.layout.place(w.entries[p.at[0]].Key)
		p.keys = append(p.keys, s.guard(group))
	}
}

// send sends the pieces that are not applied yet. Those that need no pause are
// sent again: where the server does not know the script, or is full.
func (w *writing) send(ctx context.Context) error {
	for {
		w.call(ctx)
		var failed error
		again := false
		w.pieces = slices.DeleteFunc(w.pieces, func(p *piece) bool {
			err := w.take(p)
			switch {
			case err == nil:
				return true
			case redis.HasErrorPrefix(err, "NOSCRIPT") && !p.unknown:
				p.unknown, again = true, true
			case redis.IsOOMError(err) && p.script == w.store.scripts.apply:
				p.script, p.args[1], p.unknown, again = w.store.scripts.applyFull, 0, false, true
			default:
				// What passes is tried again only if nothing failed for good.
				if failed == nil || passes(failed) {
					failed = err
				}
			}
			return false
		})
		if failed != nil || !again {
			return failed
		}
	}
}

// call sends all pieces and waits for the answers.
func (w *writing) call(ctx context.Context) {
	if len(w.pieces) == 1 {
		w.pieces[0].call(ctx, w.store.client)
		return
	}
	pipe := w.store.client.Pipeline()
	for _, p := range w.pieces {
		p.call(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // each answer has its error
}

func (p *piece) call(ctx context.Context, client redis.Scripter) {
	if p.unknown {
		p.answer = p.script.Eval(ctx, client, p.keys, p.args...)
	} else {
		p.answer = p.script.EvalSha(ctx, client, p.keys, p.args...)
	}
}

// take takes what a piece's answer says was and is held.
func (w *writing) take(p *piece) error {
	answer, err := p.answer.Slice()
	if err != nil {
		return err
	}
	if len(answer) != len(p.at) {
		return fmt.Errorf("%w: %d answers for %d entries", kv.ErrCorrupt, len(answer), len(p.at))
	}
	for n, i := range p.at {
		text, ok := answer[n].(string)
		if !ok {
			w.full = true
			continue
		}
		done, err := applied(w.entries[i].Version, text)
		if err != nil {
			return err
		}
		if w.done != nil {
			w.done[i] = done
		}
	}
	return nil
}

// applied returns what was and is held after an entry of this version, as the
// script says it.
func applied(version kv.Version, answer string) (kv.Applied, error) {
	if answer == "" {
		return kv.Applied{Held: version}, nil
	}
	lost := len(answer) < kv.RankSize // it is the version alone
	if lost {
		answer += "\x00"
	}
	was, _, err := kv.Rank([]byte(answer))
	if err != nil || !lost {
		return kv.Applied{Held: version, Was: was}, err
	}
	return kv.Applied{Held: was, Was: was}, nil
}
