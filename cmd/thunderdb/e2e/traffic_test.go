package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is clients that write through all nodes of a cluster, delete some of
// what they wrote and read it back, while a test does things to the nodes. It
// knows of each key what was acknowledged, that is, answered with 2xx: whatever
// else came back means that the write may or may not be there.
//
// While it runs, a key that was acknowledged and is answered with 404, a
// deleted one that is back, and a register that shows less than what was
// acknowledged last are errors of the test.
type traffic struct {
	t     *testing.T
	hands []*hand
	// retries makes a client that is refused try each other node once.
	retries bool

	mu      sync.Mutex // guards targets
	targets []*target

	acked, refused, bad atomic.Int64
	// refusedAt is when a write through a node that is steady was last refused,
	// in nanoseconds since 1970.
	refusedAt atomic.Int64

	stopping chan struct{}
	working  sync.WaitGroup
}

// target is a node as clients see it.
type target struct {
	*node
	away    atomic.Bool // nothing is sent to it
	shaking atomic.Bool // what it refuses does not count
}

// hand is one client: it does one thing at a time.
type hand struct {
	id   int
	rnd  *rand.Rand
	fate []fate // of its keys, by their number
	// Of its register: what was acknowledged and what was tried last, and what
	// was tried and may come yet.
	acked, tried int
	open         map[int]bool
}

// fate is what is known of a key.
type fate byte

const (
	unknown fate = iota // it may be there or not
	stored
	lasting // stored, and a write of it may come yet
	deleted
)

// trafficHands is how many clients there are.
const trafficHands = 8

// loader is what traffic is sent by. Its timeout is short: whatever does not
// answer must not hold up the others.
var loader = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * trafficHands}, Timeout: 3 * time.Second}

// startTraffic starts traffic through nodes. It ends with the test at the latest.
func startTraffic(t *testing.T, rnd *rand.Rand, retries bool, nodes ...*node) *traffic {
	t.Helper()
	l := &traffic{t: t, retries: retries, stopping: make(chan struct{})}
	l.add(nodes...)
	for i := range trafficHands {
		h := &hand{id: i, rnd: rand.New(rand.NewPCG(rnd.Uint64(), 1)), open: map[int]bool{}}
		l.hands = append(l.hands, h)
		l.working.Go(func() { l.work(h) })
	}
	t.Cleanup(l.stop)
	l.more(200)
	return l
}

// seeded returns a source of randomness whose seed is in the test's log.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// add sends to these nodes too.
func (l *traffic) add(nodes ...*node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range nodes {
		l.targets = append(slices.Clip(l.targets), &target{node: n})
	}
}

// of returns a node as the clients see it.
func (l *traffic) of(n *node) *target {
	for _, t := range l.all() {
		if t.node == n {
			return t
		}
	}
	panic(n.name + " has no traffic")
}

func (l *traffic) all() []*target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.targets
}

// more waits until so many more writes are acknowledged.
func (l *traffic) more(writes int64) {
	l.t.Helper()
	from := l.acked.Load()
	await(l.t, time.Minute, func() error {
		if got := l.acked.Load() - from; got < writes {
			return fmt.Errorf("%d writes are acknowledged, want %d", got, writes)
		}
		return nil
	})
}

// stop ends the traffic, and waits for what is under way.
func (l *traffic) stop() {
	select {
	case <-l.stopping:
	default:
		close(l.stopping)
	}
	l.working.Wait()
}

func (l *traffic) work(h *hand) {
	for {
		select {
		case <-l.stopping:
			return
		default:
		}
		l.write(h)
		l.read(h)
		if h.rnd.IntN(4) == 0 {
			l.remove(h)
		}
		l.turn(h)
	}
}

// write stores a key that nobody else writes.
func (l *traffic) write(h *hand) {
	number := len(h.fate)
	h.fate = append(h.fate, unknown)
	switch r, tries := l.send(h, http.MethodPut, h.key(number), h.value(number)); {
	case r.status/100 != 2:
	case tries > 1:
		h.fate[number] = lasting
	default:
		h.fate[number] = stored
	}
}

// remove deletes one of the keys that are stored.
func (l *traffic) remove(h *hand) {
	number := h.rnd.IntN(len(h.fate))
	if h.fate[number] != stored {
		return
	}
	h.fate[number] = unknown
	if r, _ := l.send(h, http.MethodDelete, h.key(number), ""); r.status/100 == 2 {
		h.fate[number] = deleted
	}
}

// read reads one of the keys.
func (l *traffic) read(h *hand) {
	number := h.rnd.IntN(len(h.fate))
	r, _ := l.send(h, http.MethodGet, h.key(number), "")
	if r.status != 200 && r.status != 404 {
		return
	}
	if !h.fits(number, r.status, r.body) {
		l.wrong("%s: %d %q, %s", h.key(number), r.status, r.body, r.header)
	}
}

// fits reports whether this may be the answer to a read of a key.
func (h *hand) fits(number, status int, value string) bool {
	switch h.fate[number] {
	case stored, lasting:
		return status == 200 && value == h.value(number)
	case deleted:
		return status == 404
	default:
		return status == 404 || value == h.value(number)
	}
}

// turn counts the client's register on, or reads it.
func (l *traffic) turn(h *hand) {
	if h.rnd.IntN(2) == 0 {
		h.tried++
		// A refused write may come at any time, also after later ones.
		h.open[h.tried] = true
		if r, tries := l.send(h, http.MethodPut, h.register(), strconv.Itoa(h.tried)); r.status/100 == 2 {
			h.acked = h.tried
			if tries == 1 {
				delete(h.open, h.tried)
			}
		}
		return
	}
	r, _ := l.send(h, http.MethodGet, h.register(), "")
	if r.status != 200 && r.status != 404 {
		return
	}
	if got, _ := strconv.Atoi(r.body); got != h.acked && !h.open[got] {
		l.wrong("%s is %d %q, want %d: %s", h.register(), r.status, r.body, h.acked, r.header)
	}
}

func (h *hand) key(number int) string   { return fmt.Sprintf("traffic-%d-%d", h.id, number) }
func (h *hand) value(number int) string { return fmt.Sprintf("value %d of %d", number, h.id) }
func (h *hand) register() string        { return fmt.Sprintf("register-%d", h.id) }

// wrong is an error of the test. The first few are told.
func (l *traffic) wrong(format string, args ...any) {
	if l.bad.Add(1) <= 5 {
		l.t.Errorf(time.Now().Format("15:04:05.000 ")+format, args...)
	} else {
		l.t.Fail()
	}
}

// send sends a request through some node, and with retries through each until
// one does it. It returns how often it was sent.
func (l *traffic) send(h *hand, method, key, value string) (r reply, tries int) {
	targets := l.all()
	first := h.rnd.IntN(len(targets))
	for i := range targets {
		target := targets[(first+i)%len(targets)]
		if target.away.Load() {
			continue
		}
		tries++
		r = sendBy(loader, method, target.key(key), value)
		if done := r.status/100 == 2 || r.status == 404; done || !l.retries {
			l.count(target, method, r.status)
			return r, tries
		}
	}
	if tries > 0 {
		l.count(targets[first], method, r.status)
		if l.retries {
			l.t.Logf("%s %s %s was refused by each node: %d %s", time.Now().Format("15:04:05.000"), method, key, r.status, shortened(r.body))
		}
	}
	return r, tries
}

// count counts an answer.
func (l *traffic) count(from *target, method string, status int) {
	switch {
	case status/100 == 2 && method != http.MethodGet:
		l.acked.Add(1)
	case status/100 == 2 || status == 404:
	case l.retries || !from.shaking.Load() && !from.away.Load():
		l.refused.Add(1)
		if method != http.MethodGet {
			l.refusedAt.Store(time.Now().UnixNano())
		}
	}
}

// refusedFor returns for how long after a moment writes were still refused.
func (l *traffic) refusedFor(since time.Time) time.Duration {
	return max(0, time.Unix(0, l.refusedAt.Load()).Sub(since))
}

// check ends the traffic and reads, through each of the nodes, all that was
// acknowledged: SET and GONE.
func (l *traffic) check(nodes ...*node) {
	l.t.Helper()
	l.stop()
	for _, n := range nodes {
		lost, back, known := 0, 0, 0
		for _, h := range l.hands {
			numbers := make([]int, 0, len(h.fate))
			for number := range h.fate {
				if h.fate[number] != unknown {
					numbers = append(numbers, number)
				}
			}
			for chunk := range slices.Chunk(numbers, 500) {
				for i, r := range h.ask(l.t, n, chunk) {
					known++
					if h.fits(chunk[i], r.Status, r.Value) {
						continue
					}
					if h.fate[chunk[i]] == deleted {
						back++
					} else {
						lost++
					}
					l.wrong("%s through %s: %+v", h.key(chunk[i]), n.name, r)
				}
			}
		}
		l.t.Logf("through %s: of %d keys whose fate is known %d are lost and %d are back", n.name, known, lost, back)
	}
	l.t.Logf("%d writes acknowledged, %d requests refused, %d wrong answers", l.acked.Load(), l.refused.Load(), l.bad.Load())
}

// ask reads keys by one batch.
func (h *hand) ask(t *testing.T, n *node, numbers []int) []answer {
	t.Helper()
	keys := make([]string, len(numbers))
	for i, number := range numbers {
		keys[i] = h.key(number)
	}
	return getAll(t, n, keys)
}
