package handoff

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/thunderdb/thunderdb/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handClock is a wall clock that a test sets.
type handClock struct{ at time.Time }

func newHandClock() *handClock { return &handClock{at: time.UnixMilli(1_700_000_000_000)} }

func (c *handClock) now() time.Time       { return c.at }
func (c *handClock) add(by time.Duration) { c.at = c.at.Add(by) }

func version(n int) kv.Version { return kv.Version{Time: uint64(n), Node: 7} }

// open opens a Log whose files a test writes by tend, not by Run.
func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// content returns all that a Log holds, oldest first, as text, and fails the
// test where its sums do not agree with it.
func content(t testing.TB, l *Log) map[uint64][]string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[uint64][]string{}
	var count, bytes int64
	in := map[int]int{}
	for target, q := range l.queues {
		if len(q.held) == 0 {
			continue
		}
		keys := int64(0)
		for _, m := range q.after(0, q.last, len(q.held)+1) {
			out[target] = append(out[target], fmt.Sprintf("%s@%d", m.key, m.version.Time))
			keys += int64(len(m.key))
			in[int(m.partition)]++
			if q.held[m.key] != m {
				t.Errorf("%s is in the order of %d, and not held", m.key, target)
			}
		}
		if len(out[target]) != len(q.held) || keys != q.keys {
			t.Errorf("%d: %d in order with %d bytes, %d held with %d", target, len(out[target]), keys, len(q.held), q.keys)
		}
		count += int64(len(q.held))
		bytes += keys + Overhead*int64(len(q.held))
	}
	if count != l.count || bytes != l.bytes || fmt.Sprint(in) != fmt.Sprint(l.inPartition) {
		t.Errorf("count %d, bytes %d, partitions %v; want %d, %d, %v", l.count, l.bytes, l.inPartition, count, bytes, in)
	}
	return out
}

func expect(t testing.TB, l *Log, want map[uint64][]string) {
	t.Helper()
	if got := content(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("held: %v; want %v", got, want)
	}
}

func TestOneHintForAKey(t *testing.T) {
	for _, c := range []struct {
		name string
		adds []string // target, key, version
		want map[uint64][]string
	}{
		{"newest stays", []string{"1 a 5", "1 a 3"}, map[uint64][]string{1: {"a@5"}}},
		{"newest replaces", []string{"1 a 3", "1 a 5"}, map[uint64][]string{1: {"a@5"}}},
		{"newest is last", []string{"1 a 3", "1 b 4", "1 a 5"}, map[uint64][]string{1: {"b@4", "a@5"}}},
		{"same keeps its place", []string{"1 a 3", "1 b 4", "1 a 3"}, map[uint64][]string{1: {"a@3", "b@4"}}},
		{"targets apart", []string{"1 a 5", "2 a 3"}, map[uint64][]string{1: {"a@5"}, 2: {"a@3"}}},
		{"empty key", []string{"1  3"}, map[uint64][]string{1: {"@3"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Config{Dir: dir})
			for _, add := range c.adds {
				var target uint64
				var v int
				key := add[2 : len(add)-2]
				fmt.Sscanf(add[:1]+" "+add[len(add)-1:], "%d %d", &target, &v)
				l.Add(target, 1, []byte(key), version(v))
				l.tend(false) // each in the file, so that reading it is tested too
			}
			expect(t, l, c.want)
			expect(t, open(t, Config{Dir: dir}), c.want)
		})
	}
}

func TestKeyIsCopied(t *testing.T) {
	l := open(t, Config{})
	key := []byte("abc")
	l.Add(1, 1, key, version(1))
	key[0] = 'x'
	expect(t, l, map[uint64][]string{1: {"abc@1"}})
}

func TestSums(t *testing.T) {
	l := open(t, Config{})
	l.Add(9, 4, []byte("a"), version(1))
	l.Add(2, 4, []byte("a"), version(1))
	l.Add(2, 5, []byte("b"), version(1))
	if got := l.Targets(); !slices.Equal(got, []uint64{2, 9}) {
		t.Errorf("targets: %v", got)
	}
	check := func(count int64, pending, four, five int) {
		t.Helper()
		got := fmt.Sprint(l.Count(), l.Pending(2), l.InPartition(4), l.InPartition(5))
		if want := fmt.Sprint(count, pending, four, five); got != want {
			t.Errorf("count, pending for 2, in 4, in 5: %s; want %s", got, want)
		}
	}
	check(3, 2, 2, 1)
	l.Drop(2)
	check(1, 0, 1, 0)
	l.Drop(2)
	l.Drop(77)
	check(1, 0, 1, 0)
	if got := l.Targets(); !slices.Equal(got, []uint64{9}) {
		t.Errorf("targets after a drop: %v", got)
	}
}

func TestNewestIsDroppedBeyondMaxBytes(t *testing.T) {
	l := open(t, Config{MaxBytes: 3 * (Overhead + 2)})
	for i, key := range []string{"k1", "k2", "k3"} {
		l.Add(uint64(i), 1, []byte(key), version(1))
	}
	l.Add(1, 1, []byte("k4"), version(1))
	l.Add(8, 1, []byte(""), version(1))
	l.Add(1, 1, []byte("k2"), version(2)) // takes no more room
	if got := l.Dropped(); got != 2 {
		t.Errorf("%d dropped, want 2", got)
	}
	expect(t, l, map[uint64][]string{0: {"k1@1"}, 1: {"k2@2"}, 2: {"k3@1"}})
	l.Drop(0)
	l.Add(1, 1, []byte("k4"), version(1))
	expect(t, l, map[uint64][]string{1: {"k2@2", "k4@1"}, 2: {"k3@1"}})
}

func TestOldAreDropped(t *testing.T) {
	clock := newHandClock()
	cfg := Config{Dir: t.TempDir(), MaxAge: time.Minute, Now: clock.now}
	l := open(t, cfg)
	l.Add(1, 1, []byte("a"), version(1))
	l.Add(1, 1, []byte("b"), version(1))
	clock.add(40 * time.Second)
	l.Add(1, 1, []byte("c"), version(1))
	l.Add(1, 1, []byte("a"), version(2)) // missed anew
	clock.add(20 * time.Second)
	l.tend(false)
	expect(t, l, map[uint64][]string{1: {"b@1", "c@1", "a@2"}})
	clock.add(time.Millisecond)
	expect(t, open(t, cfg), map[uint64][]string{1: {"c@1", "a@2"}})
	l.tend(false)
	expect(t, l, map[uint64][]string{1: {"c@1", "a@2"}})
	clock.add(time.Minute)
	expect(t, open(t, cfg), nil)
	l.tend(false)
	expect(t, l, nil)
}

func TestClockSetBackKeepsNoHintForEver(t *testing.T) {
	clock := newHandClock()
	l := open(t, Config{MaxAge: time.Minute, Now: clock.now})
	clock.add(1000 * time.Hour)
	l.Add(1, 1, []byte("a"), version(1))
	clock.add(-1000 * time.Hour)
	l.Add(1, 1, []byte("b"), version(1))
	l.tend(false)
	clock.add(time.Minute + time.Millisecond)
	l.tend(false)
	expect(t, l, nil)
}

func TestNegativeLimitIsRefused(t *testing.T) {
	for _, cfg := range []Config{{MaxBytes: -1}, {MaxAge: -1}, {SyncEvery: -1}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
