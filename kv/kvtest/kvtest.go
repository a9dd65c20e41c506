// Package kvtest is the conformance suite of stores: what passes it keeps the
// promises written on [kv.Store] and on those of [kv.Scanner], [kv.Counter]
// and [kv.Expirer] that it has.
package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

// Open returns an empty store. It is called many times over in a test; the
// suite closes each store before that test ends.
type Open func(t *testing.T) kv.Store

// Config says what the suite cannot find out about a store. The zero value
// suits a store that keeps [kv.DefaultPartitions] apart and takes values of 1
// MiB.
type Config struct {
	// Partitions is how many partitions the stores are opened with; 0 means
	// [kv.DefaultPartitions].
	Partitions int
	// MaxValue is the largest value, in bytes, that the store takes; 0 means
	// that it takes 1 MiB and has no limit that the suite should meet.
	MaxValue int
	// OpenFull opens an empty store that has no room for 64 MiB. Where it is
	// nil, the suite does not fill a store.
	OpenFull Open
}

// Run tests the stores that open returns, in parallel subtests of t.
func Run(t *testing.T, open Open) {
	t.Helper()
	Config{}.Run(t, open)
}

// Run is like the function [Run], for stores that c describes.
func (c Config) Run(t *testing.T, open Open) {
	t.Helper()
	if c.Partitions == 0 {
		c.Partitions = kv.DefaultPartitions
	}
	s := &suite{Config: c, open: open}
	for _, test := range s.tests(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// suite is one run of the tests.
type suite struct {
	Config
	open Open
}

// namedTest is a subtest.
type namedTest struct {
	name string
	run  func(*testing.T)
}

// tests returns the subtests that concern a store with the abilities of those
// that open returns.
func (s *suite) tests(t *testing.T) []namedTest {
	t.Helper()
	tests := []namedTest{
		{"Model", s.testModel},
		{"AnyOrder", s.testAnyOrder},
		{"Held", s.testHeld},
		{"ExpiredTombstone", s.testExpiredTombstone},
		{"KeepsNoReference", s.testKeepsNoReference},
		{"Converges", s.testConverges},
		{"ValueSizes", s.testValueSizes},
		{"Keys", s.testKeys},
		{"GetBuffer", s.testGetBuffer},
		{"Closed", s.testClosed},
		{"CloseUnderLoad", s.testCloseUnderLoad},
	}
	if s.MaxValue > 0 {
		tests = append(tests, namedTest{"TooLarge", s.testTooLarge})
	}
	if s.OpenFull != nil {
		tests = append(tests, namedTest{"Full", s.testFull})
	}
	store := s.open(t)
	defer store.Close()
	if _, ok := store.(kv.Scanner); ok {
		tests = append(tests,
			namedTest{"ScanFrom", s.testScanFrom},
			namedTest{"ScanDuringWrites", s.testScanDuringWrites})
	}
	if _, ok := store.(kv.Counter); ok {
		tests = append(tests, namedTest{"StatsToTheSecond", s.testStatsToTheSecond})
	}
	if _, ok := store.(kv.Expirer); ok {
		tests = append(tests,
			namedTest{"ExpireGoesOn", s.testExpireGoesOn},
			namedTest{"ExpireDuringWrites", s.testExpireDuringWrites})
	}
	return tests
}

// tester is what both [testing.T] and rapid's T are.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// opened returns an empty store that is closed when the test ends.
func (s *suite) opened(t *testing.T) kv.Store {
	t.Helper()
	store := s.open(t)
	t.Cleanup(func() {
		if err := store.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return store
}

// describe prints an entry shortly enough to be read in a failure.
func describe(e *kv.Entry) string {
	return fmt.Sprintf("{key %s, value %s, version %v, expires %d, type %.40q, deleted %v}",
		shorten(e.Key), shorten(e.Value), e.Version, e.Expires, e.ContentType, e.Deleted)
}

func shorten(b []byte) string {
	if len(b) <= 24 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q… (%d bytes)", b[:16], len(b))
}

// same reports whether two entries say the same. What a tombstone says beside
// its version has no meaning.
func same(a, b *kv.Entry) bool {
	if !bytes.Equal(a.Key, b.Key) || a.Version != b.Version || a.Deleted != b.Deleted {
		return false
	}
	if a.Deleted {
		return len(a.Value) == 0 && len(b.Value) == 0
	}
	return bytes.Equal(a.Value, b.Value) && a.Expires == b.Expires && a.ContentType == b.ContentType
}
