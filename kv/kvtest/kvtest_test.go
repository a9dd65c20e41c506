package kvtest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

// faultVariable names the fault that TestFaulty gives its stores, in a process
// that TestSuiteNotices starts.
const faultVariable = "KVTEST_FAULT"

func open(fault string) kvtest.Open {
	return func(*testing.T) kv.Store { return newSimple(fault) }
}

func openFull(fault string) kvtest.Open {
	return func(*testing.T) kv.Store {
		s := newSimple(fault)
		s.maxBytes = 1 << 20
		return s
	}
}

func TestSimpleStorePasses(t *testing.T) {
	t.Parallel()
	kvtest.Config{OpenFull: openFull("")}.Run(t, open(""))
}

// TestBareStorePasses: a store need have no more than kv.Store, and may have a
// limit of its own.
func TestBareStorePasses(t *testing.T) {
	t.Parallel()
	type bare struct{ kv.Store }
	kvtest.Config{MaxValue: 1 << 18}.Run(t, func(*testing.T) kv.Store {
		s := newSimple("")
		s.maxValue = 1 << 18
		return bare{s}
	})
}

// TestFaulty fails, where it is asked to.
func TestFaulty(t *testing.T) {
	if fault, ok := os.LookupEnv(faultVariable); ok {
		kvtest.Config{OpenFull: openFull(fault)}.Run(t, open(fault))
	}
}

// TestSuiteNotices runs the subtest that is to notice a fault, on a store that
// has it, in a process of its own: there it must fail.
func TestSuiteNotices(t *testing.T) {
	t.Parallel()
	for fault, subtest := range map[string]string{
		"reads after close":                "Closed",
		"closes twice":                     "Closed",
		"ignores dst":                      "GetBuffer",
		"appends to dst":                   "GetBuffer",
		"returns its own bytes":            "GetBuffer",
		"keeps the caller's bytes":         "KeepsNoReference",
		"loses the content type":           "Model",
		"hides tombstones":                 "Model",
		"hides expired entries":            "Model",
		"hides empty values":               "ValueSizes",
		"cuts keys at NUL":                 "Keys",
		"cuts long keys":                   "Keys",
		"mixes up case":                    "Keys",
		"held is what was offered":         "Held",
		"held is what stands in the end":   "Held",
		"the last one wins":                "AnyOrder",
		"forgets the node":                 "AnyOrder",
		"forgets expired tombstones":       "ExpiredTombstone",
		"forgets the lock":                 "Converges",
		"refuses deletions":                "Full",
		"takes what it refuses":            "Full",
		"has other partitions":             "ScanFrom",
		"scans in no order":                "ScanFrom",
		"scans from behind":                "ScanFrom",
		"scans no tombstones":              "ScanFrom",
		"scans on":                         "ScanFrom",
		"scans nothing new":                "ScanDuringWrites",
		"counts the expired":               "StatsToTheSecond",
		"sweeps more than the budget":      "ExpireGoesOn",
		"always sweeps from the beginning": "ExpireGoesOn",
		"sweeps too early":                 "ExpireGoesOn",
		"sweeps what was replaced":         "ExpireDuringWrites",
		"removes the expired":              "Model",
	} {
		t.Run(strings.ReplaceAll(fault, " ", "-"), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run=^TestFaulty$/^"+subtest+"$", "-test.timeout=1m", "-rapid.nofailfile", "-rapid.shrinktime=0s")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault, "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestFaulty/"+subtest) {
				t.Errorf("%s does not notice that a store %s: %v\n%s", subtest, fault, err, out)
			}
		})
	}
}
