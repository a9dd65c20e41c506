package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// testMetadata saves facts under names that are easily taken for each other,
// and for keys.
func (s *suite) testMetadata(t *testing.T) {
	store := s.opened(t)
	meta := store.(kv.Metadata)
	names := []string{"a", "b", "ab", "A", "identity", "Identity", "meta", "a" + string(bytes.Repeat([]byte("z"), 63))}
	var keys [][]byte
	for _, name := range names {
		if data, err := meta.LoadMeta(context.Background(), name); !errors.Is(err, kv.ErrNotFound) {
			t.Fatalf("LoadMeta(%s) of nothing = %q, %v, want ErrNotFound", name, data, err)
		}
		keys = append(keys, []byte(name))
		apply(t, store, write([]byte(name), 1))
	}
	for i, size := range []int{20, 100, 1, 0, 64 << 10, 10} {
		for _, name := range names {
			save(t, meta, name, fact(name, i, size))
		}
		for _, name := range names {
			expectMeta(t, meta, name, fact(name, i, size))
		}
	}
	for _, name := range names {
		e := write([]byte(name), 1)
		expect(t, store, &e)
	}
	s.checkListed(t, store, keys)
	if counter, ok := store.(kv.Counter); ok {
		if st := counter.Stats(start); st.Entries != int64(len(keys)) {
			t.Errorf("Stats count %d entries, want %d", st.Entries, len(keys))
		}
	}
	apply(t, store, deletion([]byte("a"), 2))
	expectMeta(t, meta, "a", fact("a", 5, 10))
}

// fact returns what is saved under a name for the nth time.
func fact(name string, n, size int) []byte {
	text := fmt.Appendf(nil, "%s %d\x00\xff", name, n)
	return bytes.Repeat(text, size/len(text)+1)[:size]
}

// save saves data, and scribbles on it afterwards: the store must not notice.
func save(t *testing.T, meta kv.Metadata, name string, data []byte) {
	t.Helper()
	if err := meta.SaveMeta(context.Background(), name, data); err != nil {
		t.Fatalf("SaveMeta(%s) of %d bytes: %v", name, len(data), err)
	}
	scribble([]kv.Entry{{Value: data}})
}

// expectMeta loads a fact twice, for what the caller does to the first must
// not show in the second.
func expectMeta(t *testing.T, meta kv.Metadata, name string, want []byte) {
	t.Helper()
	for range 2 {
		got, err := meta.LoadMeta(context.Background(), name)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("LoadMeta(%s) = %s, %v, want %s", name, shorten(got), err, shorten(want))
		}
		scribble([]kv.Entry{{Value: got}})
	}
}

// testMetadataWhole saves a fact from several sides at once. Who loads it sees
// one that was saved, in whole, and the last of one side remains.
func (s *suite) testMetadataWhole(t *testing.T) {
	const sides = 3
	saves := s.effort(80, 30)
	meta := s.opened(t).(kv.Metadata)
	var saving, loading sync.WaitGroup
	done := make(chan struct{})
	for side := range sides {
		saving.Go(func() {
			for n := side; n < sides*saves; n += sides {
				if err := meta.SaveMeta(context.Background(), "fact", uniform(byte(n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	loading.Go(func() {
		if err := loadWhole(meta, done); err != nil {
			t.Error(err)
		}
	})
	saving.Wait()
	close(done)
	loading.Wait()
	data, err := meta.LoadMeta(context.Background(), "fact")
	lasts := [][]byte{uniform(byte(sides*saves - 3)), uniform(byte(sides*saves - 2)), uniform(byte(sides*saves - 1))}
	if err != nil || !slices.ContainsFunc(lasts, func(last []byte) bool { return bytes.Equal(data, last) }) {
		t.Errorf("LoadMeta = %s, %v, want what was saved last", shorten(data), err)
	}
}

// uniform returns a fact that shows whether it is whole.
func uniform(b byte) []byte { return bytes.Repeat([]byte{b}, 1+37*int(b)) }

func loadWhole(meta kv.Metadata, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		data, err := meta.LoadMeta(context.Background(), "fact")
		if errors.Is(err, kv.ErrNotFound) {
			continue // not saved yet
		}
		if err != nil {
			return err
		}
		if len(data) == 0 || !bytes.Equal(data, uniform(data[0])) {
			return fmt.Errorf("LoadMeta = %s, which nobody saved", shorten(data))
		}
	}
}
