//go:build !long

package e2e

import (
	"testing"
	"time"
)

// How much the tests do that run often.
const (
	crashRounds  = 3
	crashWriters = 50
	crashWrites  = 3000
	movedRecords = 2000
)

// soakTime is how long faults are repeated: they are done once.
func soakTime(*testing.T) time.Duration { return 0 }

// cutTime is how long a network stays cut after all have noticed it: for longer
// than a node doubts what it holds, and asks others before it writes.
const cutTime = 6 * time.Second
