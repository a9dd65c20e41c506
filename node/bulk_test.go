package node

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node/topology"
)

// failures collects what a load reports.
type failures struct {
	mu    sync.Mutex // guards lines
	lines map[int64]error
}

func (f *failures) report(line int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lines == nil {
		f.lines = map[int64]error{}
	}
	f.lines[line] = err
}

func TestBulkLoadReachesAllNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	const records = 20_000
	var failed failures
	load := c.node("n2").Load(t.Context(), failed.report)
	for i := range records {
		// The buffers are the caller's again after Add.
		key, value := []byte(strconv.Itoa(i)), []byte("v"+strconv.Itoa(i))
		if err := load.Add(Record{Line: int64(i), Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
		clear(key)
		clear(value)
	}
	if err := load.Close(); err != nil {
		t.Fatal(err)
	}
	if load.Stored() != records || load.Failed() != 0 || len(failed.lines) != 0 {
		t.Fatalf("stored %d, failed %d: %v", load.Stored(), load.Failed(), failed.lines)
	}
	var held int64
	for _, n := range c.nodes() {
		held += n.Stats().Keys
	}
	if held != records {
		t.Errorf("%d keys are held, want %d", held, records)
	}
	for i := 0; i < records; i += 997 {
		c.want(strconv.Itoa(i), "v"+strconv.Itoa(i))
	}
}

func TestBulkLoadKeepsTheLastOfAKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	load := c.node("n1").Load(t.Context(), func(line int64, err error) { t.Errorf("line %d: %v", line, err) })
	const records = 10_000
	for i := range records {
		if err := load.Add(Record{Key: []byte(strconv.Itoa(i % 7)), Value: []byte(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Close(); err != nil || load.Stored() != records {
		t.Fatalf("stored %d, %v", load.Stored(), err)
	}
	for i := records - 7; i < records; i++ {
		c.want(strconv.Itoa(i%7), strconv.Itoa(i))
	}
}

// A blind put of an owner whose clock is behind must still win over what was
// there before it.
func TestBulkLoadSupersedesEntriesFromTheFuture(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	n := c.node("n1")
	future := kv.Version{Time: ^uint64(0) >> 8, Node: 1}
	for _, key := range []string{"a", "b"} {
		if err := n.store.Apply(t.Context(), []kv.Entry{{Key: []byte(key), Version: future}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	load := n.Load(t.Context(), func(line int64, err error) { t.Errorf("line %d: %v", line, err) })
	for _, key := range []string{"a", "c", "a", "b"} {
		if err := load.Add(Record{Key: []byte(key), Value: []byte("new")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Close(); err != nil || load.Stored() != 4 {
		t.Fatalf("stored %d, %v", load.Stored(), err)
	}
	c.want("a", "new")
	c.want("b", "new")
}

// When a node dies in the middle, each record is either stored or reported.
func TestBulkLoadReportsWhatADeadNodeTakesAlong(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var failed failures
	load := c.node("n1").Load(t.Context(), failed.report)
	const records = 30_000
	for i := range records {
		if i == records/2 {
			c.kill("n3")
		}
		if err := load.Add(Record{Line: int64(i), Key: []byte(strconv.Itoa(i)), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Close(); err != nil {
		t.Fatal(err)
	}
	if load.Failed() == 0 || load.Failed() != int64(len(failed.lines)) || load.Stored()+load.Failed() != records {
		t.Fatalf("stored %d, failed %d, reported %d, of %d", load.Stored(), load.Failed(), len(failed.lines), records)
	}
	r := c.node("n1").Ring()
	for i := range records {
		key := []byte(strconv.Itoa(i))
		if r.Members()[r.Owner(key)].Name == "n3" {
			continue
		}
		if err := failed.lines[int64(i)]; err != nil {
			t.Fatalf("record %d of a node that is up: %v", i, err)
		}
		if _, err := c.get(c.node("n1"), string(key)); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

func TestBulkLoadGoesOnWhileANodeJoins(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	load := c.node("n1").Load(t.Context(), func(line int64, err error) { t.Errorf("line %d: %v", line, err) })
	joined := make(chan struct{})
	c.start("n3")
	go func() {
		defer close(joined)
		for s := c.node("n1").keeper.State(); !s.Settled() || len(s.Ring.Members()) < 3; {
			s, _ = c.node("n1").keeper.Wait(t.Context(), func(now *topology.State) bool { return now != s })
		}
	}()
	added := 0
	for more := true; more; added++ {
		select {
		case <-joined:
			more = false
		default:
		}
		if err := load.Add(Record{Key: []byte(strconv.Itoa(added)), Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Close(); err != nil || load.Stored() != int64(added) {
		t.Fatalf("stored %d of %d, %v", load.Stored(), added, err)
	}
	for i := 0; i < added; i += max(1, added/2000) {
		if _, err := c.get(c.nodes()[i%3], strconv.Itoa(i)); err != nil {
			t.Fatalf("record %d of %d: %v", i, added, err)
		}
	}
}

func TestBulkLoadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var failed failures
	load := c.node("n1").Load(ctx, failed.report)
	if err := load.Add(Record{Line: 7, Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := load.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if load.Stored()+load.Failed() != 1 || int64(len(failed.lines)) != load.Failed() {
		t.Errorf("stored %d, failed %d, reported %v", load.Stored(), load.Failed(), failed.lines)
	}
}
