package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
)

const (
	million = 1_000_000
	few     = million / 10
)

// key36 returns the key of a record of 36 and 36 bytes, as a UUID looks.
func key36(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i*7919), i) }

// records writes a file of lines `key value` and returns its name.
func records(t testing.TB, count int) string {
	t.Helper()
	var text strings.Builder
	text.Grow(count * 74)
	for i := range count {
		text.WriteString(key36(i))
		text.WriteByte(' ')
		text.WriteString(value36)
		text.WriteByte('\n')
	}
	path := filepath.Join(t.TempDir(), "records.txt")
	write(t, path, text.String())
	return path
}

// keysOf returns keys among those of the records file: all where owner is "",
// else those that the node of that name owns.
func keysOf(t testing.TB, asked *node, owner string, count int) []string {
	t.Helper()
	var out []string
	for i := 0; len(out) < count; i++ {
		key := key36(i * 37 % few)
		if owner == "" || send(http.MethodHead, asked.key(key), "").header.Get("ThunderDB-Owner") == owner {
			out = append(out, key)
		}
	}
	return out
}

func (n *node) load(path string) {
	n.t.Helper()
	if _, stderr, code := n.try("import", path); code != 0 {
		n.t.Fatalf("import: %s", stderr)
	}
}

// BenchmarkLocal compares one node that holds a million records with the least
// that gorilla/mux and a map can do.
func BenchmarkLocal(b *testing.B) {
	need(b, "wrk")
	n, bare := startCluster(b, 1)[0], startBareMux(b)
	path := records(b, million)
	n.load(path)
	bare.load(path)
	keys := keysOf(b, n, "", 10_000)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		b.Run(method, func(b *testing.B) {
			for b.Loop() {
				l := load{method, keys, 100}
				ours, theirs := compare(b,
					func() measured { return wrk(b, n.base, l) }, func() measured { return wrk(b, bare.base, l) })
				report(b, ours, theirs, "bare-mux")
			}
		})
	}
}

// BenchmarkForwarded compares requests for keys of another node with requests
// for keys of the node that is asked.
func BenchmarkForwarded(b *testing.B) {
	need(b, "wrk")
	nodes := startCluster(b, 2, "--replicas", "1")
	nodes[0].load(records(b, few))
	local, remote := keysOf(b, nodes[0], "n1", 2000), keysOf(b, nodes[0], "n2", 2000)
	for _, connections := range []int{100, 8, 1} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			b.Run(fmt.Sprintf("%s/c=%d", method, connections), func(b *testing.B) {
				for b.Loop() {
					ours, theirs := compare(b,
						func() measured { return wrk(b, nodes[0].base, load{method, remote, connections}) },
						func() measured { return wrk(b, nodes[0].base, load{method, local, connections}) })
					report(b, ours, theirs, "local")
				}
			})
		}
	}
}

// BenchmarkAnyOfThree compares random keys at one node of three with keys of
// that node.
func BenchmarkAnyOfThree(b *testing.B) {
	need(b, "wrk")
	nodes := startCluster(b, 3, "--replicas", "1")
	nodes[0].load(records(b, few))
	local, all := keysOf(b, nodes[0], "n1", 2000), keysOf(b, nodes[0], "", 2000)
	for b.Loop() {
		ours, theirs := compare(b,
			func() measured { return wrk(b, nodes[0].base, load{http.MethodGet, all, 100}) },
			func() measured { return wrk(b, nodes[0].base, load{http.MethodGet, local, 100}) })
		report(b, ours, theirs, "local")
	}
}

// BenchmarkReplicated is what three replicas cost: a write that waits for two of
// them and a read that asks two, against the same at a single node.
func BenchmarkReplicated(b *testing.B) {
	need(b, "wrk")
	three, one := startCluster(b, 3), startCluster(b, 1)
	for _, nodes := range [][]*node{three, one} {
		nodes[0].load(records(b, few))
	}
	keys := keysOf(b, three[0], "n1", 2000)
	for _, connections := range []int{100, 1} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			b.Run(fmt.Sprintf("%s/c=%d", method, connections), func(b *testing.B) {
				for b.Loop() {
					ours, theirs := compare(b,
						func() measured { return wrk(b, three[0].base, load{method, keys, connections}) },
						func() measured { return wrk(b, one[0].base, load{method, keys, connections}) })
					report(b, ours, theirs, "one-replica")
				}
			})
		}
	}
}

// BenchmarkImport loads a million records, into one node and into three with and
// without replicas, and compares with the 54 s that the original reported.
func BenchmarkImport(b *testing.B) {
	path := records(b, million)
	for _, c := range []struct{ nodes, replicas int }{{1, 1}, {3, 1}, {3, 3}} {
		b.Run(fmt.Sprintf("nodes=%d/replicas=%d", c.nodes, c.replicas), func(b *testing.B) {
			for b.Loop() {
				nodes := startCluster(b, c.nodes, "--replicas", strconv.Itoa(c.replicas))
				took, sender := importFile(b, nodes[0], path)
				var keys int64
				await(b, 10*time.Second, func() error {
					st, err := nodes[0].status()
					if err != nil {
						return err
					}
					keys = 0
					for _, m := range st.Members {
						keys += m.Keys
					}
					if keys != int64(million*c.replicas) {
						return fmt.Errorf("%d keys", keys)
					}
					return nil
				})
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(million/took.Seconds(), "records/s")
				b.ReportMetric(54/took.Seconds(), "x-original")
				b.ReportMetric(float64(sender)/(1<<20), "MiB-sender")
				for _, n := range nodes {
					n.kill()
				}
			}
		})
	}
}

// BenchmarkRedisPipe loads the same records into Redis, for comparison.
func BenchmarkRedisPipe(b *testing.B) {
	s := startServer(b, redisServer())
	for b.Loop() {
		took := s.pipeIntoRedis(b, million)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(million/took.Seconds(), "records/s")
	}
}

// pipeIntoRedis sets so many records by redis-cli --pipe, and returns how long
// that took.
func (s *server) pipeIntoRedis(b *testing.B, count int) time.Duration {
	b.Helper()
	need(b, "redis-cli")
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, "*3\r\n$3\r\nSET\r\n$36\r\n%s\r\n$36\r\n%s\r\n", key36(i), value36)
	}
	pipe := exec.Command("redis-cli", "-p", s.port, "--pipe")
	pipe.Stdin = strings.NewReader(text.String())
	began := time.Now()
	if out, err := pipe.CombinedOutput(); err != nil {
		b.Fatalf("redis-cli: %v\n%s", err, out)
	}
	return time.Since(began)
}

// BenchmarkAB is what the original measured: ab -n 10000 -c 100.
func BenchmarkAB(b *testing.B) {
	need(b, "ab")
	nodes := startCluster(b, 3)
	key := nodes[0].url("/get/" + ownedBy(b, nodes[0], "n2"))
	if r := send(http.MethodPut, strings.Replace(key, "/get/", "/v1/kv/", 1), "v"); r.status != 201 {
		b.Fatalf("put: %+v", r)
	}
	for b.Loop() {
		out, err := exec.Command("ab", "-n", "10000", "-c", "100", key).CombinedOutput()
		if err != nil || strings.Contains(string(out), "Non-2xx") {
			b.Fatalf("ab: %v\n%s", err, out)
		}
		if failed := match(b, out, `Failed requests:\s+(\d+)`); failed != "0" {
			b.Errorf("%s failed requests", failed)
		}
		took, err := strconv.ParseFloat(match(b, out, `Time taken for tests:\s+([\d.]+)`), 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(10_000/took, "req/s")
		b.ReportMetric(4.6/took, "x-original")
	}
}

// importFile loads a file by the command line. It returns how long that took,
// and the most memory that the command had, in bytes.
func importFile(b *testing.B, n *node, path string) (time.Duration, int64) {
	b.Helper()
	cmd := exec.Command(binary, "import", "--addr", n.base, path)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		select {
		case <-tick.C:
			most = max(most, peakMemory(cmd.Process.Pid))
		case err := <-ended:
			if err != nil {
				b.Fatalf("import: %v\n%s", err, out.Bytes())
			}
			return time.Since(began), most
		}
	}
}

// peakMemory returns the most memory that a process had so far, in bytes; 0
// where it has ended.
func peakMemory(pid int) int64 { return memoryOf(pid, "VmHWM:") }

// residentMemory returns the memory that a process has now, in bytes; 0 where it
// has ended.
func residentMemory(pid int) int64 { return memoryOf(pid, "VmRSS:") }

func memoryOf(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), field)
	kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "kB", 2)[0]), 10, 64)
	if err != nil {
		return 0 // between its end and our wait it has no memory
	}
	return kilobytes << 10
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// bareMux is a process that serves GET and PUT from a map, through gorilla/mux:
// the stack's own limit.
type bareMux struct{ base string }

// muxAddress is the variable that makes this test binary a bare mux server.
const muxAddress = "E2E_BARE_MUX"

func startBareMux(b *testing.B) *bareMux {
	b.Helper()
	m := &bareMux{base: "http://127.0.0.1:" + freePort(b)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), muxAddress+"="+strings.TrimPrefix(m.base, "http://"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await(b, 10*time.Second, func() error {
		if r := send(http.MethodGet, m.base+"/v1/kv/none", ""); r.status != 404 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	return m
}

func (m *bareMux) load(path string) {
	if r := send(http.MethodPost, m.base+"/load", path); r.status != 200 {
		panic(fmt.Sprintf("bare mux: %+v", r))
	}
}

// serveBareMux is the whole of such a server.
func serveBareMux(addr string) error {
	var mu sync.RWMutex
	held := map[string][]byte{}
	r := mux.NewRouter()
	r.HandleFunc("/v1/kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		mu.RLock()
		value, ok := held[mux.Vars(r)["key"]]
		mu.RUnlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(value)
	}).Methods(http.MethodGet)
	r.HandleFunc("/v1/kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		held[mux.Vars(r)["key"]] = value
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}).Methods(http.MethodPut)
	r.HandleFunc("/load", func(w http.ResponseWriter, r *http.Request) {
		path, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := os.ReadFile(string(path))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			held[strings.Clone(key)] = []byte(value)
		}
	})
	server := &http.Server{Addr: addr, Handler: r, ReadHeaderTimeout: time.Second}
	return server.ListenAndServe()
}
