package pebblekv

import "github.com/cockroachdb/pebble/v2"

// reading lets do find what is held. Whose keys it finds are locked, so one view
// of the database is true of all of them.
//
// It is not Pebble's Get, which does without the filters of the last level: of a
// key that is new, which most are, that would read a block of a table.
func (w *work) reading(do func() error) (err error) {
	w.before, err = w.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return w.mapError("read", err)
	}
	defer func() {
		_ = w.before.Close() // find has returned its error
		w.before = nil
	}()
	return do()
}

// find returns the encoded entry under w.key, which is valid until the next
// find, and whether there is one.
func (w *work) find() (data []byte, found bool, err error) {
	if !w.before.SeekPrefixGE(w.key) {
		return nil, false, w.before.Error()
	}
	data, err = w.before.ValueAndErr()
	return data, err == nil, err
}
