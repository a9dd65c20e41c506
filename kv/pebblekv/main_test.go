package pebblekv

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails where a goroutine outlives the stores.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
