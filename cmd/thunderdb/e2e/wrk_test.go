package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// load is what wrk sends: requests for random keys of a list, without a pause,
// over so many connections.
type load struct {
	method      string
	keys        []string
	connections int
}

// measured is what came of a load.
type measured struct {
	perSecond float64
	median    time.Duration
}

// wrkScript asks for random keys out of a file. Each thread has a seed of its
// own.
const wrkScript = `
local keys = {}
for line in io.lines("%s") do keys[#keys + 1] = line end
local counter = 0
function setup(thread) counter = counter + 1; thread:set("seed", counter) end
function init(args) math.randomseed(seed) end
local body = %s
function request() return wrk.format("%s", "/v1/kv/" .. keys[math.random(#keys)], nil, body) end
`

const value36 = "123456789012345678901234567890123456"

// wrk runs a load against an address for two seconds. Answers that are no
// success end the benchmark.
func wrk(b *testing.B, address string, l load) measured {
	b.Helper()
	dir := b.TempDir()
	keys, script := filepath.Join(dir, "keys"), filepath.Join(dir, "load.lua")
	body := "nil"
	if l.method == "PUT" {
		body = strconv.Quote(value36)
	}
	write(b, keys, strings.Join(l.keys, "\n"))
	write(b, script, fmt.Sprintf(wrkScript, keys, body, l.method))
	threads := min(2, l.connections)
	out, err := exec.Command("wrk", "-t", strconv.Itoa(threads), "-c", strconv.Itoa(l.connections),
		"-d", "2s", "--latency", "-s", script, address).CombinedOutput()
	if err != nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	var m measured
	if m.perSecond, err = strconv.ParseFloat(match(b, out, `Requests/sec:\s+([\d.]+)`), 64); err != nil {
		b.Fatal(err)
	}
	if m.median, err = time.ParseDuration(match(b, out, `50%\s+([\d.]+[a-z]+)`)); err != nil {
		b.Fatal(err)
	}
	return m
}

func match(b *testing.B, text []byte, pattern string) string {
	b.Helper()
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		b.Fatalf("no %s in:\n%s", pattern, text)
	}
	return string(found[1])
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rounds is how often each side of a comparison is measured; the sides take
// turns, and the medians count.
const rounds = 5

// compare returns the medians of two loads that are measured in turns.
func compare(b *testing.B, ours, theirs func() measured) (measured, measured) {
	b.Helper()
	var a, z []measured
	for range rounds {
		a, z = append(a, ours()), append(z, theirs())
	}
	return medianOf(a), medianOf(z)
}

func medianOf(all []measured) measured {
	slices.SortFunc(all, func(a, b measured) int { return int(a.perSecond - b.perSecond) })
	out := all[len(all)/2]
	slices.SortFunc(all, func(a, b measured) int { return int(a.median - b.median) })
	out.median = all[len(all)/2].median
	return out
}

// report prints a comparison.
func report(b *testing.B, ours, theirs measured, than string) {
	b.ReportMetric(0, "ns/op") // the whole run says nothing
	b.ReportMetric(ours.perSecond, "req/s")
	b.ReportMetric(ours.perSecond/theirs.perSecond, "x-"+than)
	b.ReportMetric(float64(ours.median.Microseconds()), "µs-median")
}
