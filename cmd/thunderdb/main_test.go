package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets scripts run this test's own binary as thunderdb.
func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"thunderdb": main})
}

// leakFree fails when its tests leave goroutines behind.
type leakFree struct{ *testing.M }

// Run implements testscript.TestingM.
func (m leakFree) Run() int {
	code := m.M.Run()
	if code != 0 {
		return code
	}
	// A probe that waits for its answer does so beyond the pool's Shutdown.
	probe := goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode")
	if err := goleak.Find(probe); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
