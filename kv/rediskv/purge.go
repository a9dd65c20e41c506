package rediskv

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/thunderdb/thunderdb/kv"
)

// Purge implements [kv.Purger]. It sends the refs of a group in pieces, one after
// the other, each of which is purged in one step. A piece that is sent again,
// since its answer was lost, may find its entries gone already, and then says
// that it did not purge them.
func (s *Store) Purge(ctx context.Context, refs []kv.Ref, purged []bool) error {
	clear(purged)
	if len(refs) == 0 {
		return s.do(ctx, "purge", func(context.Context) error { return nil })
	}
	for _, at := range s.dealOut(refs) {
		if err := s.purgePiece(ctx, refs, at, purged); err != nil {
			return err
		}
	}
	return nil
}

// dealOut returns the indices of refs, in pieces of one group each.
func (s *Store) dealOut(refs []kv.Ref) [][]int {
	var pieces [][]int
	open := make(map[int]int) // by group, which piece has room
	for i := range refs {
		_, group := s.layout.place(refs[i].Key)
		n, ok := open[group]
		if !ok || len(pieces[n]) == pieceEntries {
			n, open[group] = len(pieces), len(pieces)
			pieces = append(pieces, nil)
		}
		pieces[n] = append(pieces[n], i)
	}
	return pieces
}

// purgePiece purges those of refs that at says, which are of one group.
func (s *Store) purgePiece(ctx context.Context, refs []kv.Ref, at []int, purged []bool) error {
	_, group := s.layout.place(refs[at[0]].Key)
	keys, args := s.layout.books(group), []any{s.fencer()}
	for _, i := range at {
		partition, _ := s.layout.place(refs[i].Key)
		keys = append(keys, s.layout.hash(partition))
		args = append(args, refs[i].Key, encodeVersion(refs[i].Version))
	}
	keys = append(keys, s.guard(group))
	var answer []bool
	err := s.do(ctx, "purge", func(ctx context.Context) (err error) {
		answer, err = s.scripts.purge.Run(ctx, s.client, keys, args...).BoolSlice()
		if err == nil && len(answer) != len(at) {
			err = fmt.Errorf("%w: %d answers for %d entries", kv.ErrCorrupt, len(answer), len(at))
		}
		return err
	})
	if err != nil || purged == nil {
		return err
	}
	for n, i := range at {
		purged[i] = answer[n]
	}
	return nil
}

// encodeVersion returns a version as entries begin with it.
func encodeVersion(v kv.Version) []byte {
	data := binary.BigEndian.AppendUint64(make([]byte, 0, 16), v.Time)
	return binary.BigEndian.AppendUint64(data, v.Node)
}
