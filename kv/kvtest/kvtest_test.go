package kvtest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/kv/kvtest"
)

// faultsVariable names the faults, one a line, that TestFaulty gives its stores
// in a process that TestSuiteNotices starts.
const faultsVariable = "KVTEST_FAULTS"

// run runs the suite on simple stores with a fault, or with none.
func run(t *testing.T, fault string) {
	t.Helper()
	config := kvtest.Config{Partitions: simplePartitions, MaxValue: 1 << 18, OpenFull: openFull(fault), Reopen: reopen}
	config.Run(t, func(*testing.T) kv.Store {
		s := newSimple(fault)
		s.maxValue = config.MaxValue
		return s
	})
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
	run(t, "")
}

// TestBareStorePasses: a store need have no more than kv.Store, and no limit.
func TestBareStorePasses(t *testing.T) {
	t.Parallel()
	type bare struct{ kv.Store }
	kvtest.Run(t, func(*testing.T) kv.Store { return bare{newSimple("")} })
}

// TestSlowStorePasses runs what a slow store gets.
func TestSlowStorePasses(t *testing.T) {
	t.Parallel()
	config := kvtest.Config{Partitions: simplePartitions, Slow: true, OpenFull: openFull(""), Reopen: reopen}
	config.Run(t, func(*testing.T) kv.Store { return newSimple("") })
}

// TestFaulty fails, where it is asked to.
func TestFaulty(t *testing.T) {
	faults, ok := os.LookupEnv(faultsVariable)
	if !ok {
		return
	}
	for fault := range strings.Lines(faults) {
		fault = strings.TrimSpace(fault)
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			run(t, fault)
		})
	}
}

// TestSuiteNotices runs each subtest on stores with the faults that it is to
// notice, in a process of its own: there it must fail with each.
func TestSuiteNotices(t *testing.T) {
	t.Parallel()
	for subtest, faults := range faultsOf {
		t.Run(subtest, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run=^TestFaulty$/./^"+subtest+"$", "-test.timeout=1m", "-rapid.nofailfile", "-rapid.shrinktime=0s")
			cmd.Env = append(os.Environ(), faultsVariable+"="+strings.Join(faults, "\n"), "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			for _, fault := range faults {
				failed := "--- FAIL: TestFaulty/" + strings.ReplaceAll(fault, " ", "_") + "/" + subtest + " "
				if err == nil || !strings.Contains(string(out), failed) {
					t.Errorf("it does not notice that a store %s: %v\n%s", fault, err, out)
				}
			}
		})
	}
}

// faultsOf says which faults a subtest is to notice.
var faultsOf = map[string][]string{
	"Closed": {
		"reads after close",
		"closes twice",
		"loads facts after close",
		"tells one key of a batch that it is closed",
		"purges after close",
	},
	"GetBuffer": {
		"ignores dst",
		"appends to dst",
		"returns its own bytes",
	},
	"KeepsNoReference": {"keeps the caller's bytes"},
	"Model": {
		"loses the content type",
		"hides tombstones",
		"hides expired entries",
		"removes the expired",
		"opens with what was deleted once",
		"opens with what was purged",
		"was is what stood before the batch",
		"purges what is older as well",
	},
	"ValueSizes": {"hides empty values"},
	"Keys": {
		"cuts keys at NUL",
		"cuts long keys",
		"cuts keys of 1024 bytes",
		"mixes up case",
	},
	"ContentTypes": {
		"cuts long content types",
		"numbers content types by a byte",
	},
	"Held": {
		"held is what was offered",
		"held is what stands in the end",
		"was is what stood before the batch",
		"was is unknown where nothing changed",
		"was is nothing under a tombstone",
		"was is what is held",
	},
	"Chain": {
		"was is what stood before the batch",
		"looks what was before it has the lock",
		"forgets the lock",
	},
	"AnyOrder": {
		"the last one wins",
		"forgets the node",
	},
	"Versions": {"compares versions as floating point"},
	"Expired": {
		"forgets expired tombstones",
		"forgets a tombstone's expiry",
		"keeps expiries as floating point",
		"drops what expired long ago",
		"lets anything replace the expired",
	},
	"Converges":      {"forgets the lock"},
	"OppositeOrders": {"locks keys as they come"},
	"Full": {
		"refuses deletions",
		"takes what it refuses",
		"holds what it has no room for",
		"has no room for facts when full",
		"has no room for purges when full",
	},
	"TooLarge": {"holds what it drops with a large one"},
	"Cancelled": {
		"takes a cancelled call for a miss",
		"drops what is cancelled",
		"holds what is cancelled",
		"closes at a cancelled call",
		"purges nothing when cancelled, and says nothing",
		"takes a cancelled purge for a closed store",
	},
	"CancelledMidway": {"answers the call before"},
	"ScanFrom": {
		"has other partitions",
		"scans in no order",
		"scans from behind",
		"scans no tombstones",
		"scans on",
	},
	"ScanDuringWrites": {"scans nothing new"},
	"ScanMany": {
		"scans one page",
		"visits the last of a page again",
	},
	"ScanAmongWriters": {"scans an entry in two steps"},
	"ScanCancelled":    {"cuts cancelled scans short"},
	"ScanDuringClose": {
		"cuts scans short at close",
		"waits for scans with its lock",
	},
	"Purge": {
		"leaves purged as it was",
		"says that it purged everything",
		"misses what it is to purge",
		"purges no tombstones",
		"purges by a tombstone",
		"purges by another version of nothing",
		"counts what it purged",
		"hides from Get what it should purge",
		"purges the neighbour too",
		"purges what is older as well",
		"purges what is newer as well",
		"purges without the node",
	},
	"PurgeMany": {
		"purges 1000 refs at most",
		"purges no tombstones",
		"purges by a tombstone",
	},
	"PurgeDuringWrites": {
		"purges in two steps",
		"looks what was before it has the lock",
	},
	"StatsToTheSecond": {"counts the expired"},
	"ExpireGoesOn": {
		"sweeps more than the budget",
		"always sweeps from the beginning",
		"sweeps too early",
		"sweeps the expiry away",
	},
	"ExpireDuringWrites": {"sweeps what was replaced"},
	"Metadata": {
		"keeps facts among entries",
		"counts facts as entries",
		"keeps the caller's fact",
		"returns its own fact",
		"mixes up the case of names",
		"takes an empty fact for none",
		"cuts long facts",
	},
	"MetadataWhole": {"saves facts in two steps"},
	"GetBatch": {
		"closes when asked for nothing",
		"reads 500 keys at most",
		"ends a batch at the first miss",
		"leaves the errors of hits alone",
		"shares values among keys that repeat",
		"lays values end to end",
	},
	"GetBatchDuringWrites": {"reads a batch in two steps"},
	"Durable":              {"is durable while empty"},
	"Reopen": {
		"opens without tombstones",
		"opens without empty values",
		"opens without expiries",
		"opens without facts",
		"opens without the last write",
		"opens the old one with it",
		"opens and miscounts",
		"opens and does not sweep",
		"opens with what was purged",
	},
}
