package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever the disk store has acknowledged is there after kill -9 at a random
// moment, again and again.
func TestKillOnDisk(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := newNodes(t, 1)[0]
	n.args = append(n.args, onDisk(t.TempDir())...)
	n.start()
	awaitMembers(t, []*node{n}, 1)
	writers := make([]writer, crashWriters)
	for i := range writers {
		writers[i] = writer{name: fmt.Sprint("writer", i)}
	}
	total := int64(0)
	for round := range crashRounds {
		killAt := 1 + rnd.Int64N(crashWrites)
		acked := writeUntilKilled(n, writers, killAt)
		if acked < killAt {
			t.Fatalf("round %d: the node answered no more after %d writes", round, acked)
		}
		total += acked
		began := time.Now()
		n.start()
		awaitMembers(t, []*node{n}, 1)
		t.Logf("round %d: killed after %d writes, back after %v", round, acked, time.Since(began))
		for i := range writers {
			writers[i].check(t, n)
		}
	}
	t.Logf("%d acknowledged writes, each twice", total)
}

// writer writes a key of its own for each number, and one key anew with each.
type writer struct {
	name    string
	acked   int // the last number that both writes of were acknowledged
	checked int // up to which number was looked at
}

func (w *writer) key(number int) string { return fmt.Sprintf("%s-%d", w.name, number) }

// writeUntilKilled has all writers write, and kills the node when so many
// numbers are acknowledged. It returns how many were in the end.
func writeUntilKilled(n *node, writers []writer, killAt int64) int64 {
	var acked atomic.Int64
	var killing sync.Once
	var working sync.WaitGroup
	for i := range writers {
		w := &writers[i]
		working.Go(func() {
			for number := w.acked + 1; ; number++ {
				value := strconv.Itoa(number)
				fresh := send(http.MethodPut, n.key(w.key(number)), value)
				again := send(http.MethodPut, n.key(w.name), value)
				if fresh.status/100 != 2 || again.status/100 != 2 {
					return
				}
				w.acked = number
				if acked.Add(1) == killAt {
					// The others are in the middle of theirs.
					killing.Do(func() { _ = n.cmd.Process.Kill() })
				}
			}
		})
	}
	working.Wait()
	n.kill()
	return acked.Load()
}

// check reads what was acknowledged since the last check.
func (w *writer) check(t *testing.T, n *node) {
	t.Helper()
	type op struct {
		Op     string `json:"op"`
		Key    string `json:"key"`
		Value  string `json:"value,omitempty"`
		Status int    `json:"status,omitempty"`
	}
	ops := []op{{Op: "get", Key: w.name}}
	for number := w.checked + 1; number <= w.acked; number++ {
		ops = append(ops, op{Op: "get", Key: w.key(number)})
	}
	body, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	r := send(http.MethodPost, n.url("/v1/batch"), string(body))
	var got []op
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || len(got) != len(ops) {
		t.Fatalf("batch of %s: %+v", w.name, r)
	}
	// A write that nobody acknowledged may be there too.
	if last, _ := strconv.Atoi(got[0].Value); w.acked > 0 && (last < w.acked || last > w.acked+1) {
		t.Errorf("%s: %q is the last, want %d", w.name, got[0].Value, w.acked)
	}
	for i, number := 1, w.checked+1; number <= w.acked; i, number = i+1, number+1 {
		if got[i].Value != strconv.Itoa(number) {
			t.Errorf("%s: %+v was acknowledged", w.name, got[i])
		}
	}
	w.checked = w.acked
}
