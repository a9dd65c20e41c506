package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/client"
)

// node is a process that serves. Each has an IP of its own on loopback, and so
// the usual ports are free, also when it comes back.
type node struct {
	t    testing.TB
	name string
	ip   string
	base string // begins its URLs
	log  string // file
	dir  string // of its store, where that is on disk
	args []string
	cmd  *exec.Cmd
	// inside begins the command line of what runs where the node does: nothing,
	// or `ip netns exec` of its namespace.
	inside []string
}

// startCluster starts nodes n1 to n<count>, each a process, and waits until all
// are in the ring. The first founds the cluster, and takes the extra args.
func startCluster(t testing.TB, count int, args ...string) []*node {
	t.Helper()
	nodes := newNodes(t, count)
	nodes[0].args = append(nodes[0].args, args...)
	for _, n := range nodes[1:] {
		n.args = append(n.args, "--join", nodes[0].ip+":7946")
	}
	for _, n := range nodes {
		n.start()
	}
	awaitMembers(t, nodes, count)
	return nodes
}

// newNodes returns nodes n1 to n<count> that are not started.
func newNodes(t testing.TB, count int) []*node {
	subnet := fmt.Sprintf("127.%d.%d", 1+rand.IntN(254), rand.IntN(256))
	var nodes []*node
	for i := range count {
		nodes = append(nodes, newNode(t, fmt.Sprintf("n%d", i+1), fmt.Sprintf("%s.%d", subnet, i+1)))
	}
	return nodes
}

// newNode returns a node that is not started.
func newNode(t testing.TB, name, ip string) *node {
	n := &node{t: t, name: name, ip: ip, base: "http://" + ip + ":8080", log: filepath.Join(t.TempDir(), name+".log")}
	n.args = []string{
		"serve", "--name", name,
		"--http", ip + ":8080", "--gossip", ip + ":7946", "--peer", ip + ":7947",
	}
	if _, timed := t.(*testing.B); !timed {
		n.args = append(n.args, "--log-level", "debug")
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			n.showLog()
		}
	})
	return n
}

// start starts the process.
func (n *node) start() {
	n.t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	line := append(append(append([]string{}, n.inside...), binary), n.args...)
	n.cmd = exec.Command(line[0], line[1:]...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// kill ends the process as a power cut does.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended
	_ = n.cmd.Wait()         // "signal: killed", as meant
	n.cmd = nil
}

// stop asks the process to end, and returns how it did.
func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := n.cmd.Wait()
	n.cmd = nil
	return err
}

func (n *node) showLog() {
	text := n.logText()
	if lines := strings.Split(text, "\n"); len(lines) > 40 {
		text = strings.Join(lines[len(lines)-40:], "\n")
	}
	n.t.Logf("the last of %s's log:\n%s", n.name, text)
}

func (n *node) logText() string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (n *node) url(path string) string { return n.base + path }

func (n *node) key(key string) string { return n.url("/v1/kv/" + escape(key)) }

// escape writes every byte but letters and digits as %XX.
func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// reply is what a request came back with.
type reply struct {
	status int
	header http.Header
	body   string
}

// browser keeps enough connections open for all that tests do at once.
var browser = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	Timeout:   15 * time.Second,
}

// send sends one request, with headers in turns of name and value; status is 0
// where no answer came.
func send(method, address, body string, header ...string) reply {
	return sendBy(browser, method, address, body, header...)
}

func sendBy(by *http.Client, method, address, body string, header ...string) reply {
	req, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(body))
	if err != nil {
		return reply{body: err.Error()}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := by.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(answer)}
}

// try runs a subcommand against the node and returns what it printed.
func (n *node) try(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	line := append(append(append([]string{}, n.inside...), binary), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "THUNDERDB_ADDR="+n.url(""))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		n.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// status returns the cluster as the node sees it.
func (n *node) status() (*client.Cluster, error) {
	c, err := client.Options{Tries: 1}.New(n.url(""))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.Cluster(ctx)
}

// awaitMembers waits until each node sees so many members up in a settled
// ring.
func awaitMembers(t testing.TB, nodes []*node, members int) {
	t.Helper()
	await(t, time.Minute, func() error {
		for _, n := range nodes {
			st, err := n.status()
			if err != nil {
				return err
			}
			if !st.Settled || len(st.Members) != members {
				return fmt.Errorf("%s sees %+v", n.name, st)
			}
			for _, m := range st.Members {
				if m.Status != "alive" {
					return fmt.Errorf("%s sees %+v", n.name, st)
				}
			}
		}
		return nil
	})
}

// await waits until check returns nil.
func await(t testing.TB, most time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(most)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %v: %v", most, err)
		}
	}
}

// ownedBy returns a key that a node owns, as another sees it.
func ownedBy(t testing.TB, asked *node, owner string) string {
	t.Helper()
	for i := range 1000 {
		key := fmt.Sprintf("of-%s-%d", owner, i)
		r := send(http.MethodHead, asked.url("/v1/kv/"+url.PathEscape(key)), "")
		if r.header.Get("ThunderDB-Owner") == owner {
			return key
		}
	}
	t.Fatalf("no key of %s found", owner)
	return ""
}
