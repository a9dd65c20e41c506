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
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
