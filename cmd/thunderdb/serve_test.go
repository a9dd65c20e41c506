package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// output takes what a program writes, a write each. What does not fit, because
// nobody has waited for it, is lost.
type output chan string

// Write implements io.Writer.
func (o output) Write(p []byte) (int, error) {
	select {
	case o <- string(p):
	default:
	}
	return len(p), nil
}

// program is a command line that runs in this process.
type program struct {
	t              *testing.T
	stdout, stderr output
	cancel         context.CancelFunc
	code           chan int
}

// start runs args until the test ends, or stop is called.
func start(t *testing.T, args ...string) *program {
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t, make(output, 1000), make(output, 1000), cancel, make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.code <- run(ctx, args, strings.NewReader(""), p.stdout, p.stderr)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return p
}

// await returns the groups of the first write that pattern matches.
func (p *program) await(o output, pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	giveUp := time.After(20 * time.Second)
	var seen strings.Builder
	for {
		select {
		case text := <-o:
			if groups := re.FindStringSubmatch(text); groups != nil {
				return groups[1:]
			}
			seen.WriteString(text)
		case <-giveUp:
			p.t.Fatalf("never wrote %s, but\n%s", pattern, &seen)
		case code := <-p.code:
			p.t.Fatalf("ended with %d before it wrote %s", code, pattern)
		}
	}
}

// stop asks the program to end, and returns its exit code.
func (p *program) stop() int {
	p.cancel()
	return <-p.code
}

func connect(t *testing.T, addrs ...string) *client.Client {
	t.Helper()
	c, err := client.New(addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A node founds a cluster, loads its file in the background and says what it
// could not load; another joins it; both end with 0 when they are asked to.
func TestServe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pairs.csv")
	if err := os.WriteFile(file, []byte("key,value\na,1\nno second column\nb,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0"}
	first := start(t, append(args, "--name", "first", "--data", file)...)
	addr := first.await(first.stderr, `serving: .*http=(\S+)`)[0]
	if line := first.await(first.stderr, `not stored: .*line=(\d+)`)[0]; line != "3" {
		t.Errorf("line %s was not stored, want 3", line)
	}
	first.await(first.stderr, `loaded: .*read=3 stored=2 failed=1`)
	db := connect(t, addr)
	state, err := db.Cluster(t.Context())
	if err != nil || len(state.Members) != 1 {
		t.Fatalf("cluster = %+v, %v", state, err)
	}

	second := start(t, append(args, "--name", "second", "--log-format", "json", "--join", state.Members[0].Gossip)...)
	other := connect(t, second.await(second.stderr, `"http":"([^"]+)"`)[0])
	err = poll(t.Context(), func() (bool, error) { return other.Ready(t.Context()) == nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a": "1", "b": "2"} {
		if item, err := other.Get(t.Context(), key); err != nil || string(item.Value) != want {
			t.Errorf("get %s through the node that joined: %+v, %v", key, item, err)
		}
	}
	if code := second.stop(); code != exitDone {
		t.Errorf("the second node ended with %d", code)
	}
	if code := first.stop(); code != exitDone {
		t.Errorf("the first node ended with %d", code)
	}
}

// The lines that demo prints work as they stand.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, "demo", "--nodes", "2", "--http", "127.0.0.1:0")
	addrs := p.await(p.stdout, `(?s)curl -X PUT -d 'good morning' http://(\S+)/v1/kv/greeting\n  curl http://(\S+)/v1/kv/greeting\n`)
	if addrs[0] == addrs[1] {
		t.Errorf("both lines name %s", addrs[0])
	}
	if _, err := connect(t, addrs[0]).Put(t.Context(), "greeting", []byte("good morning")); err != nil {
		t.Fatal(err)
	}
	if item, err := connect(t, addrs[1]).Get(t.Context(), "greeting"); err != nil || string(item.Value) != "good morning" {
		t.Errorf("get = %+v, %v", item, err)
	}
	if code := p.stop(); code != exitDone {
		t.Errorf("demo ended with %d", code)
	}
}

// An address that is taken ends the program, and names the flag.
func TestServeOnAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	first := start(t, "demo", "--nodes", "1", "--http", "127.0.0.1:0")
	addr := first.await(first.stdout, `http://(\S+)/v1/cluster`)[0]
	second := start(t, "serve", "--http", addr, "--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0")
	if code := <-second.code; code != exitFailed {
		t.Errorf("ended with %d, want %d", code, exitFailed)
	}
	if message := <-second.stderr; !strings.Contains(message, "--http") {
		t.Errorf("says %q, want it to name --http", message)
	}
}
