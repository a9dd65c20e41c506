// Package kvtest is the conformance suite of stores: what passes it keeps the
// promises written on [kv.Store] and on those of [kv.Scanner], [kv.Purger],
// [kv.Counter], [kv.Expirer], [kv.Metadata] and [kv.BatchGetter] that it has.
package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
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
	// MaxValue is the largest value, in bytes, that the store takes under any
	// key and with any content type of up to 255 bytes; 0 means that it takes 1
	// MiB and has no limit that the suite should meet.
	MaxValue int
	// OpenFull opens an empty store that has no room for 64 MiB. Where it is
	// nil, the suite does not fill a store.
	OpenFull Open
	// Reopen closes a store that open or Reopen returned, and returns another
	// that holds what it held. Where it is nil, a store is taken to forget.
	Reopen func(t *testing.T, store kv.Store) kv.Store
	// Slow says that a call of the store takes some 50 µs or more, as one
	// across a network or one that waits for a disk does: random tests then
	// make fewer rounds, and others fewer calls.
	Slow bool
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
	s.neighbours = sync.OnceValue(s.findNeighbours)
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
	open       Open
	neighbours func() [][]byte // many keys of partition 0
}

// namedTest is a subtest.
type namedTest struct {
	name string
	run  func(*testing.T)
}

// tests returns the subtests that concern stores as c describes them, with the
// abilities of those that open returns.
func (s *suite) tests(t *testing.T) []namedTest {
	t.Helper()
	tests := []namedTest{
		{"Model", s.testModel},
		{"AnyOrder", s.testAnyOrder},
		{"Versions", s.testVersions},
		{"Held", s.testHeld},
		{"Chain", s.testChain},
		{"KeepsNoReference", s.testKeepsNoReference},
		{"Converges", s.testConverges},
		{"OppositeOrders", s.testOppositeOrders},
		{"Expired", s.testExpired},
		{"ValueSizes", s.testValueSizes},
		{"Keys", s.testKeys},
		{"ContentTypes", s.testContentTypes},
		{"GetBuffer", s.testGetBuffer},
		{"Cancelled", s.testCancelled},
		{"CancelledMidway", s.testCancelledMidway},
		{"Closed", s.testClosed},
		{"CloseUnderLoad", s.testCloseUnderLoad},
	}
	if s.MaxValue > 0 {
		tests = append(tests, namedTest{"TooLarge", s.testTooLarge})
	}
	if s.OpenFull != nil {
		tests = append(tests, namedTest{"Full", s.testFull})
	}
	if s.Reopen != nil {
		tests = append(tests, namedTest{"Reopen", s.testReopen})
	}
	store := s.opened(t)
	return append(tests, s.testsOfAbilities(store)...)
}

// testsOfAbilities returns the subtests that concern what a store has beside
// the methods of kv.Store.
func (s *suite) testsOfAbilities(store kv.Store) []namedTest {
	var tests []namedTest
	if _, ok := store.(kv.Scanner); ok {
		tests = append(tests,
			namedTest{"ScanFrom", s.testScanFrom},
			namedTest{"ScanMany", s.testScanMany},
			namedTest{"ScanDuringWrites", s.testScanDuringWrites},
			namedTest{"ScanAmongWriters", s.testScanAmongWriters},
			namedTest{"ScanCancelled", s.testScanCancelled},
			namedTest{"ScanDuringClose", s.testScanDuringClose})
	}
	if _, ok := store.(kv.Purger); ok {
		tests = append(tests,
			namedTest{"Purge", s.testPurge},
			namedTest{"PurgeMany", s.testPurgeMany},
			namedTest{"PurgeDuringWrites", s.testPurgeDuringWrites})
	}
	if _, ok := store.(kv.Counter); ok {
		tests = append(tests, namedTest{"StatsToTheSecond", s.testStatsToTheSecond})
	}
	if _, ok := store.(kv.Expirer); ok {
		tests = append(tests,
			namedTest{"ExpireGoesOn", s.testExpireGoesOn},
			namedTest{"ExpireDuringWrites", s.testExpireDuringWrites})
	}
	if _, ok := store.(kv.Metadata); ok {
		tests = append(tests,
			namedTest{"Metadata", s.testMetadata},
			namedTest{"MetadataWhole", s.testMetadataWhole})
	}
	if _, ok := store.(kv.BatchGetter); ok {
		tests = append(tests,
			namedTest{"GetBatch", s.testGetBatch},
			namedTest{"GetBatchDuringWrites", s.testGetBatchDuringWrites})
	}
	if _, ok := store.(kv.Durable); ok {
		tests = append(tests, namedTest{"Durable", s.testDurable})
	}
	return tests
}

// effort returns how often a test does something: full times, or slow times
// with a slow store.
func (s *suite) effort(full, slow int) int {
	if s.Slow {
		return slow
	}
	return full
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
	return closing(t, s.open(t))
}

// reopened closes a store, and returns another that holds what it held and is
// closed when the test ends.
func (s *suite) reopened(t *testing.T, store kv.Store) kv.Store {
	t.Helper()
	return closing(t, s.Reopen(t, store))
}

// closing has a store closed when the test ends.
func closing(t *testing.T, store kv.Store) kv.Store {
	t.Helper()
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

// same reports whether two entries say the same. The content type of a
// tombstone has no meaning.
func same(a, b *kv.Entry) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Version == b.Version &&
		a.Expires == b.Expires && a.Deleted == b.Deleted && (a.Deleted || a.ContentType == b.ContentType)
}
