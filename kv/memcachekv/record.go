package memcachekv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/thunderdb/thunderdb/kv"
)

// recordFormat is the version of what this package writes.
const recordFormat = 1

// Records are padded to a power of two, from the one to the other.
const (
	minRecord = 4 << 10
	maxPadded = 64 << 10
)

// record is what the first server holds about a namespace, as JSON.
type record struct {
	Format  int
	Holder  string            // who wrote it, as in the lease
	Number  uint64            // rises with each change
	Servers []string          // where the entries are, in order
	Marks   []string          // of the servers
	Facts   map[string][]byte // see kv.Metadata
}

// recordNumber is what is compared before a record is replaced.
func recordNumber(data []byte) (number uint64, holder string) {
	var r struct {
		Number uint64
		Holder string
	}
	if json.Unmarshal(data, &r) != nil {
		return 0, "" // no record of ours
	}
	return r.Number, r.Holder
}

// readRecord makes what the first server says about the namespace this store's
// own. Where there is nothing, all that any server holds of it is given up.
func (st *Store) readRecord(ctx context.Context) error {
	r := record{Servers: st.addrs, Marks: make([]string, len(st.servers))}
	err := st.servers[0].openly(ctx, func(s *session) error {
		item, err := s.get(st.names.record)
		if err != nil || item == nil {
			return err
		}
		return st.adopt(item.Value, &r)
	})
	if err != nil {
		return err
	}
	st.written.Store(r.Number)
	r.Format, r.Holder, r.Number = recordFormat, st.holder, r.Number+1
	st.record = r
	for i := range st.servers {
		st.servers[i].mark.Store(&r.Marks[i])
	}
	return nil
}

// errRecord says what is wrong with the item of a record.
func (st *Store) errRecord(format string, args ...any) error {
	return refuse("item %s on %s: %w", st.names.record, st.addrs[0], fmt.Errorf(format, args...))
}

// adopt parses a record into r, and checks whether this store can go on with
// it.
func (st *Store) adopt(data []byte, r *record) error {
	var found record
	if err := json.Unmarshal(data, &found); err != nil {
		return st.errRecord("it is no record of a store: %w", err)
	}
	switch {
	case found.Format != recordFormat:
		return st.errRecord("format %d is not %d, as this version of thunderdb writes it", found.Format, recordFormat)
	case !slices.Equal(found.Servers, st.addrs):
		return st.errList(st.servers[0], strings.Join(found.Servers, ","))
	case len(found.Marks) != len(st.addrs):
		return st.errRecord("%d marks of %d servers", len(found.Marks), len(st.addrs))
	}
	*r = found
	return nil
}

// setMark puts the mark of a server in the record that is written next.
func (st *Store) setMark(index int, mark string) {
	st.recordMu.Lock()
	defer st.recordMu.Unlock()
	marks := slices.Clone(st.record.Marks)
	marks[index] = mark
	st.record.Marks = marks
	st.record.Number++
}

// snapshot returns the record as it is now.
func (st *Store) snapshot() record {
	st.recordMu.Lock()
	defer st.recordMu.Unlock()
	return st.record
}

// writeRecord stores the record as it is now. It is for the first server.
func (srv *server) writeRecord(s *session) error {
	st := srv.store
	for range 10 {
		found, err := s.get(st.names.record)
		if err != nil {
			return err
		}
		r := st.snapshot() // after that, so that it is no older than what is there
		w := write{name: st.names.record}
		if found != nil {
			number, holder := recordNumber(found.Value)
			switch {
			case holder == st.holder && number >= r.Number:
				return nil
			case holder != st.holder && number > st.written.Load():
				return st.lose(fmt.Sprintf("%s has used the namespace on %s meanwhile", holder, srv.addr))
			}
			w.cas = found.CasID
		}
		if w.data, err = r.encode(); err != nil {
			return err
		}
		if err := srv.storeRecord(s, &w); err != nil {
			return err
		}
		if !w.lost {
			st.written.Store(r.Number)
			return nil
		}
	}
	return errors.New("the record changes all the time")
}

// storeRecord stores a record. A server that evicts nothing and is full has no
// room for it beside the one it replaces, so a spare item as large as that is
// kept there, which makes way for it.
func (srv *server) storeRecord(s *session, w *write) error {
	st := srv.store
	if err := s.store([]*write{w}); err != nil {
		return err
	}
	if w.err != nil && st.spare {
		if err := s.client.Delete(st.names.spare); err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
			return err
		}
		if err := s.store([]*write{w}); err != nil {
			return err
		}
	}
	if w.err != nil || !st.spare {
		return w.err
	}
	spare, err := s.get(st.names.spare)
	if err != nil || spare != nil && len(spare.Value) == len(w.data) {
		return err
	}
	again := &write{name: st.names.spare, data: w.data}
	if spare != nil {
		again.cas = spare.CasID
	}
	return s.store([]*write{again}) // without room for it there is none next time
}

// encode returns a record as JSON, with spaces behind it so that records of
// similar size are of the same.
func (r *record) encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	pad := 0
	for size := minRecord; pad == 0 && size <= maxPadded; size *= 2 {
		pad = max(0, size-len(data))
	}
	return append(data, bytes.Repeat([]byte(" "), pad)...), nil
}

// keepRecord sees to it that the first server has the record, and after the
// lease had lapsed that nobody else has written it.
func (srv *server) keepRecord(s *session, lapsed bool) error {
	err := s.client.Touch(srv.store.names.record, 0)
	if err == nil && !lapsed {
		return nil
	}
	if err == nil || errors.Is(err, memcache.ErrCacheMiss) {
		return srv.writeRecord(s)
	}
	return err
}

// LoadMeta implements [kv.Metadata]. It answers from memory, for nobody else
// changes what there is.
func (st *Store) LoadMeta(_ context.Context, name string) ([]byte, error) {
	if err := st.begin(); err != nil {
		return nil, err
	}
	defer st.end()
	data, ok := st.snapshot().Facts[name]
	if !ok {
		return nil, kv.ErrNotFound
	}
	return bytes.Clone(data), nil
}

// SaveMeta implements [kv.Metadata]. All metadata of a node are one item, so
// ErrTooLarge is possible; so is ErrFull, see the package. Data that it failed
// to save may be there or not, and may be written by a later SaveMeta.
func (st *Store) SaveMeta(ctx context.Context, name string, data []byte) error {
	if err := st.begin(); err != nil {
		return err
	}
	defer st.end()
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	if err := st.setFact(name, bytes.Clone(data)); err != nil {
		return fmt.Errorf("save metadata %s: %w", name, err)
	}
	if err := st.servers[0].do(ctx, st.servers[0].writeRecord); err != nil {
		return fmt.Errorf("save metadata %s: %w", name, err)
	}
	return nil
}

// setFact puts a fact in the record that is written next.
func (st *Store) setFact(name string, data []byte) error {
	st.recordMu.Lock()
	defer st.recordMu.Unlock()
	next := st.record
	next.Facts = maps.Clone(next.Facts)
	if next.Facts == nil {
		next.Facts = make(map[string][]byte)
	}
	next.Facts[name] = data
	size := 0
	for name, data := range next.Facts {
		size += len(name) + len(data)*4/3 + 16
	}
	if size > st.maxValue {
		return kv.ErrTooLarge
	}
	next.Number++
	st.record = next
	return nil
}
