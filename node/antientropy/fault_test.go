package antientropy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
)

var errLost = errors.New("lost")

// Calls fail and replies get lost, until another exchange is through. What one
// said was done must have been.
func TestExchangeGoesOnAfterFaults(t *testing.T) {
	t.Parallel()

	for seed := range uint64(40) {
		dice := rand.New(rand.NewPCG(seed, 1))
		a, b := newFake("a", 32), newFake("b", 32)
		for i := range 300 {
			e := entry(fmt.Sprint(i), 1, "x")
			[]func(){
				func() { a.put(e) }, func() { b.put(e) }, func() { a.put(e); b.put(e) },
			}[dice.IntN(3)]()
		}
		faulty := func(string, bool) error {
			if dice.IntN(10) == 0 {
				return errLost
			}
			return nil
		}
		a.page, b.page, a.fault, b.fault = 5, 7, faulty, faulty
		left := a.all()
		for tries := 0; len(left) > 0; tries++ {
			moved, err := Exchange(t.Context(), a, b, left, Options{})
			if (err == nil) != (len(moved.Done) == len(left)) || err != nil && !errors.Is(err, errLost) {
				t.Fatalf("seed %d: %d of %d done, and the error is %v", seed, len(moved.Done), len(left), err)
			}
			for _, p := range moved.Done {
				if digestOf(a, p) != digestOf(b, p) {
					t.Fatalf("seed %d: partition %d is said to be done", seed, p)
				}
			}
			left = slices.DeleteFunc(left, func(p int) bool { return slices.Contains(moved.Done, p) })
			if tries == 1000 {
				t.Fatalf("seed %d: it does not end", seed)
			}
		}
		wantAlike(t, a, b)
	}
}

// From some call on, one kind of call always fails. However far the exchange
// got, and whatever still waited, nothing is said to be done that is not.
func TestNothingIsDoneThatIsNot(t *testing.T) {
	t.Parallel()
	large := []byte(strings.Repeat("x", 200_000)) // so that batches are small
	for seed := range uint64(100) {
		dice := rand.New(rand.NewPCG(seed, 2))
		partitions := 1 + dice.IntN(6)
		a, b := newFake("a", partitions), newFake("b", partitions)
		onA, onB := dice.IntN(3), dice.IntN(3)
		for i := range 600 {
			e := entry(fmt.Sprint(i), 1, "")
			if i%5 == 0 {
				e.Value = large
			}
			if dice.IntN(3) < onA {
				a.put(e)
			}
			if dice.IntN(3) < onB {
				b.put(e)
			}
		}
		kind := []string{"list", "get", "apply"}[dice.IntN(3)]
		left := dice.IntN(5)
		a.page, b.page = 20+dice.IntN(80), 20+dice.IntN(80)
		a.getAtMost, b.getAtMost = dice.IntN(20), dice.IntN(20)
		[]*fake{a, b}[dice.IntN(2)].fault = func(call string, after bool) error {
			if call != kind || after {
				return nil
			}
			if left--; left < 0 {
				return errLost
			}
			return nil
		}
		exchange := Exchange
		if seed%2 == 0 {
			b.put(slices.Collect(maps.Values(a.contents()))...) // a pull makes them alike
			exchange = Pull
		}
		moved, err := exchange(t.Context(), a, b, a.all(), Options{})
		if (err == nil) != (len(moved.Done) == partitions) {
			t.Errorf("seed %d: %d of %d partitions done, and the error is %v", seed, len(moved.Done), partitions, err)
		}
		for _, p := range moved.Done {
			if digestOf(a, p) != digestOf(b, p) {
				t.Errorf("seed %d: partition %d is said to be done", seed, p)
			}
		}
	}
}

func TestErrorNamesPartitionAndReplica(t *testing.T) {
	t.Parallel()

	for _, call := range []string{"digests", "list", "get", "apply"} {
		a, b := newFake("alpha", 8), newFake("beta", 8)
		a.put(entry("k", 1, "x"), entry("l", 1, "x"))
		b.put(entry("k", 2, "x"), entry("l", 1, "x"))
		p := kv.Partition([]byte("k"), 8)
		bad := b
		if call == "apply" {
			bad = a
		}
		bad.fault = func(c string, _ bool) error {
			if c == call {
				return errLost
			}
			return nil
		}
		_, err := Exchange(t.Context(), a, b, []int{p}, Options{})
		if !errors.Is(err, errLost) || !strings.Contains(err.Error(), bad.name) ||
			!strings.Contains(err.Error(), fmt.Sprintf("partition %d", p)) {
			t.Errorf("%s: the error is %v", call, err)
		}
	}
}

func TestReplicaThatIsGoneIsGivenUp(t *testing.T) {
	t.Parallel()

	for _, call := range []string{"digests", "list", "get", "apply"} {
		a, b := many(2000, 2000)
		for i := range 2000 {
			b.put(entry(fmt.Sprintf("key%05d", i), 2, "x"))
			a.put(entry(fmt.Sprintf("key%05d", i+500), 3, "x"))
		}
		b.fault = func(c string, _ bool) error {
			if c == call {
				return errLost
			}
			return nil
		}
		moved, err := Pull(t.Context(), b, a, a.all(), Options{})
		if call == "get" {
			moved, err = Pull(t.Context(), a, b, a.all(), Options{})
		}
		if !errors.Is(err, errLost) || b.calls[call] > maxFailures {
			t.Errorf("%d times %s, done %d: %v", b.calls[call], call, len(moved.Done), err)
		}
	}
}

// A replica that takes nothing any more still gives what it has.
func TestFullReplicaStillGives(t *testing.T) {
	t.Parallel()

	a, b := many(64, 1000)
	for i := range 500 {
		a.put(entry(fmt.Sprintf("key%05d", i), 2, "x"))
		b.put(entry(fmt.Sprintf("key%05d", i+500), 2, "x"))
	}
	b.fault = func(c string, _ bool) error {
		if c == "apply" {
			return kv.ErrFull
		}
		return nil
	}
	moved, err := Exchange(t.Context(), a, b, a.all(), Options{})
	if !errors.Is(err, kv.ErrFull) || moved.Entries != 500 || b.calls["apply"] > 20 {
		t.Errorf("moved %d entries, %d calls, %v", moved.Entries, b.calls["apply"], err)
	}
	for _, p := range moved.Done {
		if digestOf(a, p) != digestOf(b, p) {
			t.Errorf("partition %d is said to be done", p)
		}
	}
}

// An entry that a store cannot take does not keep the others out.
func TestEntryThatIsTooLargeKeepsOutNoOther(t *testing.T) {
	t.Parallel()

	a, b := newFake("a", 8), newFake("b", 8)
	for i := range 1000 {
		b.put(entry(fmt.Sprint(i), 1, "x"))
	}
	b.put(entry("400", 2, strings.Repeat("x", 101)))
	a.largest = 100
	moved, err := Pull(t.Context(), a, b, a.all(), Options{})
	if !errors.Is(err, kv.ErrTooLarge) || moved.Entries != 999 || len(moved.Done) != 7 {
		t.Errorf("moved %d entries, done %v, %v", moved.Entries, moved.Done, err)
	}
}

func TestEntryThatCannotBeReadKeepsOutNoOther(t *testing.T) {
	t.Parallel()

	for _, atMost := range []int{0, 1} {
		a, b := many(8, 200)
		for i := range 200 {
			b.put(entry(fmt.Sprintf("key%05d", i), 2, "x"))
		}
		b.getAtMost = atMost
		moved, err := Pull(t.Context(), a, unreadable{b, "key00077"}, a.all(), Options{})
		if !errors.Is(err, kv.ErrCorrupt) || moved.Entries != 199 || len(moved.Done) != 7 {
			t.Errorf("moved %d entries, done %v, %v", moved.Entries, moved.Done, err)
		}
	}
}

// unreadable is a replica of which one entry is corrupt.
type unreadable struct {
	*fake
	key string
}

func (u unreadable) Get(ctx context.Context, keys [][]byte) ([]kv.Entry, []error) {
	found, errs := u.fake.Get(ctx, keys)
	for i := range found {
		if string(keys[i]) == u.key {
			errs[i] = kv.ErrCorrupt
		}
	}
	return found, errs
}

// An entry that vanishes between listing and fetching is not missed.
func TestEntryThatVanishesIsNoError(t *testing.T) {
	t.Parallel()

	a, b := many(1, 10)
	b.put(entry("key00003", 2, "x"), entry("new", 1, "x"))
	b.fault = func(call string, after bool) error {
		if call == "get" && !after {
			delete(b.held, "new")
		}
		return nil
	}
	moved, err := Pull(t.Context(), a, b, a.all(), Options{})
	if err != nil || moved.Entries != 1 || len(moved.Done) != 1 {
		t.Errorf("moved %+v, %v", moved, err)
	}
}

// liar is a replica that breaks a promise.
type liar struct {
	*fake
	list    func(page []kv.Entry, from, next []byte) ([]kv.Entry, []byte)
	digests func([]Digest) []Digest
	get     func([]kv.Entry, []error) ([]kv.Entry, []error)
	apply   func([]kv.Version) []kv.Version
}

func (l liar) Digests(ctx context.Context, partitions []int) ([]Digest, error) {
	found, err := l.fake.Digests(ctx, partitions)
	if l.digests != nil {
		found = l.digests(found)
	}
	return found, err
}

func (l liar) List(ctx context.Context, p int, from []byte, values bool) ([]kv.Entry, []byte, error) {
	page, next, err := l.fake.List(ctx, p, from, values)
	if l.list != nil {
		page, next = l.list(page, from, next)
	}
	return page, next, err
}

func (l liar) Get(ctx context.Context, keys [][]byte) ([]kv.Entry, []error) {
	found, errs := l.fake.Get(ctx, keys)
	if l.get != nil {
		found, errs = l.get(found, errs)
	}
	return found, errs
}

func (l liar) Apply(ctx context.Context, entries []kv.Entry) ([]kv.Version, error) {
	held, err := l.fake.Apply(ctx, entries)
	if l.apply != nil {
		held = l.apply(held)
	}
	return held, err
}

func TestBrokenPromisesAreErrors(t *testing.T) {
	t.Parallel()

	tests := map[string]liar{
		"a listing without order": {list: func(page []kv.Entry, _, next []byte) ([]kv.Entry, []byte) {
			slices.Reverse(page)
			return page, next
		}},
		"a listing that goes back": {list: func(page []kv.Entry, _, _ []byte) ([]kv.Entry, []byte) {
			return page, []byte("key00000")
		}},
		"a listing that stands still": {list: func(_ []kv.Entry, from, _ []byte) ([]kv.Entry, []byte) {
			if from == nil {
				from = []byte("k")
			}
			return nil, from
		}},
		"digests of fewer":       {digests: func(d []Digest) []Digest { return d[1:] }},
		"no entries":             {get: func([]kv.Entry, []error) ([]kv.Entry, []error) { return nil, nil }},
		"entries without errors": {get: func(e []kv.Entry, _ []error) ([]kv.Entry, []error) { return e, nil }},
		"versions of fewer":      {apply: func(v []kv.Version) []kv.Version { return v[1:] }},
	}
	for name, test := range tests {
		a, b := many(1, 20)
		a.put(entry("key00001", 2, "x"))
		b.put(entry("key00002", 2, "x"))
		b.page = 6
		test.fake = b
		moved, err := Exchange(t.Context(), a, test, a.all(), Options{})
		if err == nil || len(moved.Done) > 0 {
			t.Errorf("%s: done %v, %v", name, moved.Done, err)
		}
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	t.Parallel()

	a, b := many(64, 1000)
	for i := range 1000 {
		b.put(entry(fmt.Sprintf("key%05d", i), 2, "x"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.fault = func(call string, _ bool) error {
		if call == "list" && b.calls["list"] == 10 {
			cancel()
		}
		return nil
	}
	moved, err := Pull(ctx, a, b, a.all(), Options{})
	if !errors.Is(err, context.Canceled) || b.calls["list"] > 10 || len(moved.Done) > 10 {
		t.Errorf("%v after %d listings, done %v", err, b.calls["list"], moved.Done)
	}
}
