//go:build long

package e2e

import (
	"os"
	"testing"
	"time"
)

// How much the tests do that have minutes.
const (
	crashRounds  = 20
	crashWriters = 50
	crashWrites  = 50_000
	movedRecords = 1_000_000
)

// soakTime is how long faults are repeated: THUNDERDB_SOAK, as in 3m.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("THUNDERDB_SOAK")
	if text == "" {
		return 3 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cutTime is how long a network stays cut after all have noticed it: longer
// than memberlist remembers the dead.
const cutTime = 75 * time.Second
